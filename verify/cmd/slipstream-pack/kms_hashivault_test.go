//go:build kms || kms_hashivault

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"slipstream/verify/pack"
)

// transit is the part of HashiCorp Vault's and OpenBao's transit engine that signing
// needs, with real keys. What it says that is not so: that there is a seal, leases
// and policies behind it; there is one token, and one version of each key.
type transit struct {
	token string
	keys  map[string]crypto.Signer
	wrong crypto.Signer // signs for the key "liar"
}

func newTransit(t *testing.T, token string, names ...string) *transit {
	t.Helper()
	key := func(curve elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	v := &transit{token: token, keys: map[string]crypto.Signer{"big": key(elliptic.P384())}, wrong: key(elliptic.P256())}
	for _, name := range names {
		v.keys[name] = key(elliptic.P256())
	}
	return v
}

const maxTransitRequest = 1 << 20

func (v *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, text string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[%q]}`, text)
	}
	if r.Header.Get("X-Vault-Token") != v.token {
		fail(http.StatusForbidden, "permission denied")
		return
	}
	words := strings.Split(strings.TrimPrefix(path.Clean(r.URL.Path), "/v1/transit/"), "/")
	if len(words) < 2 || v.keys[words[1]] == nil {
		fail(http.StatusNotFound, "no such key")
		return
	}
	var data map[string]any
	var err error
	switch {
	case r.Method == http.MethodGet && words[0] == "keys":
		data, err = v.describe(words[1])
	case words[0] == "sign" && len(words) == 3 && words[2] == "sha2-256":
		data, err = v.sign(words[1], io.LimitReader(r.Body, maxTransitRequest))
	default:
		err = fmt.Errorf("unsupported path %s", r.URL.Path)
	}
	if err != nil {
		fail(http.StatusBadRequest, err.Error())
		return
	}
	if err := json.NewEncoder(w).Encode(map[string]any{"data": data}); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (v *transit) describe(name string) (map[string]any, error) {
	public, err := pack.PublicPEM(v.keys[name].Public().(*ecdsa.PublicKey))
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"name": name, "latest_version": 1,
		"keys": map[string]any{"1": map[string]any{"name": "P-256", "public_key": string(public)}},
	}, nil
}

func (v *transit) sign(name string, body io.Reader) (map[string]any, error) {
	var ask struct {
		Input     string `json:"input"`
		Prehashed bool   `json:"prehashed"`
	}
	if err := json.NewDecoder(body).Decode(&ask); err != nil {
		return nil, err
	}
	digest, err := base64.StdEncoding.DecodeString(ask.Input)
	if err != nil || !ask.Prehashed || len(digest) != crypto.SHA256.Size() {
		return nil, fmt.Errorf("a SHA-256 is to be signed, not %d bytes: %w", len(digest), err)
	}
	key := v.keys[name]
	if name == "liar" {
		key = v.wrong
	}
	sig, err := key.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return map[string]any{"signature": "vault:v1:" + base64.StdEncoding.EncodeToString(sig)}, nil
}

// Two operators, each with a server and a token of his own, sign one package, one
// after the other.
func TestKMSVault(t *testing.T) {
	one := httptest.NewServer(newTransit(t, "one", "release", "root", "liar"))
	two := httptest.NewServer(newTransit(t, "two", "release", "root"))
	t.Cleanup(one.Close)
	t.Cleanup(two.Close)
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/kms",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits},
		Setup: func(e *testscript.Env) error {
			e.Setenv("ONE", one.URL)
			e.Setenv("TWO", two.URL)
			return nil
		},
	})
}
