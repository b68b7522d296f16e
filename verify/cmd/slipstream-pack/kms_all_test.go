//go:build kms

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature/kms"

	"slipstream/verify/pack"
)

func TestKMSAllAreCompiledIn(t *testing.T) {
	got := kms.SupportedProviders()
	slices.Sort(got)
	if want := []string{"awskms://", "azurekms://", "gcpkms://", "hashivault://", "openbao://"}; !slices.Equal(got, want) {
		t.Errorf("compiled in are %q, want %q", got, want)
	}
}

// awsKMS is the part of AWS KMS that signing needs, with one real key. What it says
// that is not so: that it is AWS, and that it has looked at the caller's signature.
func awsKMS(t *testing.T, key *ecdsa.PrivateKey) *httptest.Server {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	const id = "arn:aws:kms:eu-central-1:1:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"KeyId": id}
		switch target := r.Header.Get("X-Amz-Target"); strings.TrimPrefix(target, "TrentService.") {
		case "GetPublicKey":
			answer["PublicKey"] = public
		case "DescribeKey":
			answer = map[string]any{"KeyMetadata": map[string]any{
				"KeyId": id, "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": []string{"ECDSA_SHA_256"}}}
		case "Sign":
			var ask struct{ Message []byte }
			if err := json.NewDecoder(io.LimitReader(r.Body, maxTransitRequest)).Decode(&ask); err != nil {
				t.Errorf("sign: %v", err)
			}
			sig, err := key.Sign(rand.Reader, ask.Message, crypto.SHA256)
			if err != nil {
				t.Errorf("sign: %v", err)
			}
			answer["Signature"] = sig
		default:
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Errorf("answer: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestKMSAWS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	server := awsKMS(t, key)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CA_BUNDLE": ca, "AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	uri := "awskms://" + strings.TrimPrefix(server.URL, "https://") + "/alias/release"
	signer, err := pack.OpenSigner(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if !signer.Public().Equal(key.Public()) {
		t.Error("the public half is another key's")
	}
	if _, err := signer.Bundle(t.Context(), []byte("a statement")); err != nil { // it checks the signature
		t.Error(err)
	}
}
