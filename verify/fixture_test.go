package verify_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// fixture is a good package in its parts, so that a test can spoil one of them
// and put the rest together as a signer or an attacker would.
type fixture struct {
	t        testing.TB
	key      *ecdsa.PrivateKey // trusted
	stranger *ecdsa.PrivateKey // not trusted
	trust    *verify.Trust
	dev      verify.Device
	manifest verify.Manifest
	payload  []byte // the statement
	head     []byte // the bundle
	index    []byte
	image    []byte
	file     []byte // the whole package
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return newFixtureOf(t, "#!/bin/sh\nexec sleep 1\n")
}

// newFixtureOf has a package whose only file has the given content.
func newFixtureOf(t testing.TB, program string) *fixture {
	t.Helper()
	f := &fixture{t: t, key: newKey(t), stranger: newKey(t)}
	f.trust = trustOf(t, f.key)
	f.dev = verify.Device{Product: "gatecam", Hardware: "cam-a1"}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "camera"), program, 0o755)

	var file bytes.Buffer
	m, err := pack.Build(t.Context(), &file, pack.Options{Dir: dir, Manifest: template(), Key: f.key})
	if err != nil {
		t.Fatal(err)
	}
	p, err := verify.Inspect(bytes.NewReader(file.Bytes()), int64(file.Len()), f.trust)
	if err != nil {
		t.Fatal(err)
	}
	part := func(i int) []byte {
		member := p.Members[i]
		return file.Bytes()[member.Offset:][:member.Size]
	}
	f.manifest, f.file = m, file.Bytes()
	f.head, f.index, f.image = part(0), part(1), part(2)
	if f.payload, err = json.Marshal(m.Statement()); err != nil {
		t.Fatal(err)
	}
	return f
}

func template() verify.Manifest {
	return verify.Manifest{
		Product: "gatecam", Hardware: []string{"cam-a1", "cam-a2"},
		Version: "2.0.0", ReleaseCounter: 7,
		IssuedAt: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
		App: &verify.App{
			Exec:    []string{"camera", "--quiet"},
			Streams: []verify.Stream{{Name: "main", Width: 320, Height: 180}},
		},
	}
}

// open gives a whole file to Open and CheckAll, as this device.
func (f *fixture) open(file []byte) error { return openAll(file, f.trust, f.dev) }

func openAll(file []byte, trust *verify.Trust, dev verify.Device) error {
	p, err := verify.Open(bytes.NewReader(file), int64(len(file)), trust, dev)
	if err == nil {
		err = p.CheckAll(context.Background())
	}
	return sameAsStream(err, bytes.NewReader(file), trust, dev)
}

// sameAsStream returns what is said of a file, unless of the same bytes in a stream
// something else is said.
func sameAsStream(err error, r io.Reader, trust *verify.Trust, dev verify.Device) error {
	p, streamed := verify.CheckStream(context.Background(), r, trust, &dev)
	if (err == nil) != (streamed == nil) || verify.Code(err) != verify.Code(streamed) || (p == nil) != (streamed != nil) {
		return fmt.Errorf("of the file is said %q, of the stream %q", fmt.Sprint(err), fmt.Sprint(streamed))
	}
	return err
}

// withHead opens the package with another bundle.
func (f *fixture) withHead(head []byte) error { return f.open(archive(head, f.index, f.image)) }

// withPayload opens the package with another statement, signed by the trusted key.
func (f *fixture) withPayload(payload []byte) error { return f.withHead(f.sign(payload)) }

// edited opens the package with a text in the statement replaced, signed again.
func (f *fixture) edited(old, new string) error { return f.withPayload(f.replace(f.payload, old, new)) }

// bundle opens the package with a text in the bundle replaced, not signed again.
func (f *fixture) bundle(old, new string) error { return f.withHead(f.replace(f.head, old, new)) }

// changed opens the package with another manifest, its subjects fitting, signed again.
func (f *fixture) changed(change func(*verify.Manifest)) error {
	return f.withPayload(f.statement(change))
}

func (f *fixture) statement(change func(*verify.Manifest)) []byte {
	f.t.Helper()
	m := f.manifest
	app := *m.App
	app.Streams = append([]verify.Stream(nil), app.Streams...)
	m.App = &app
	m.Images = append([]verify.Image(nil), m.Images...)
	m.Hardware = append([]string(nil), m.Hardware...)
	change(&m)
	payload, err := json.Marshal(m.Statement())
	if err != nil {
		f.t.Fatal(err)
	}
	return payload
}

func (f *fixture) sign(payload []byte) []byte { return signWith(f.t, f.key, payload) }

func (f *fixture) replace(in []byte, old, new string) []byte {
	f.t.Helper()
	if !bytes.Contains(in, []byte(old)) {
		f.t.Fatalf("%q does not occur in %s", old, in)
	}
	return bytes.Replace(in, []byte(old), []byte(new), 1)
}

func signWith(t testing.TB, key *ecdsa.PrivateKey, payload []byte) []byte {
	t.Helper()
	head, err := pack.Sign(t.Context(), key, payload)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// member is one file with its header and padding.
func member(name string, data []byte) []byte {
	h := verify.Header(name, int64(len(data)))
	out := append(h[:], data...)
	return append(out, make([]byte, verify.Padding(int64(len(data))))...)
}

func archive(head, index, image []byte) []byte {
	return join(member(verify.HeadName, head), member("app.tree.chunks", index), member("app.tree", image), make([]byte, 1024))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicPEM(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	text, err := pack.PublicPEM(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func trustOf(t testing.TB, keys ...*ecdsa.PrivateKey) *verify.Trust {
	t.Helper()
	var file []byte
	for _, key := range keys {
		file = append(file, publicPEM(t, key)...)
	}
	trust, err := verify.ParseTrust(file)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func writeFile(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func contextCanceled(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// thorough says that all the time in the world may be taken.
func thorough() bool { return os.Getenv("SLIPSTREAM_SOAK") != "" }
