package verify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"slipstream/verify"
)

// A package must be checkable without our code; these tests do it by hand, with
// tools that every workshop has.

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, name), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestTarReadsPackage(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "x.slip"), string(f.file), 0o644)
	if got, want := command(t, dir, "tar", "tf", "x.slip"), "manifest.sigstore.json\napp.tree.chunks\napp.tree\n"; got != want {
		t.Errorf("tar lists %q, want %q", got, want)
	}
	command(t, dir, "tar", "xf", "x.slip")
	for name, want := range map[string][]byte{verify.HeadName: f.head, "app.tree.chunks": f.index, "app.tree": f.image} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("tar extracted %d bytes of %s, want %d: %v", len(got), name, len(want), err)
		}
	}
	if got, want := command(t, dir, "tar", "tf", "app.tree"), "camera\n"; got != want {
		t.Errorf("tar lists the image as %q, want %q", got, want)
	}
}

func TestTarMakesTheSameBytes(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, verify.HeadName), string(f.head), 0o600)
	writeFile(t, filepath.Join(dir, "app.tree.chunks"), string(f.index), 0o600)
	writeFile(t, filepath.Join(dir, "app.tree"), string(f.image), 0o600)
	for _, row := range []struct {
		format string
		same   bool
	}{{"ustar", true}, {"gnu", false}, {"pax", false}} {
		command(t, dir, "tar", "--format="+row.format, "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--mode=0644", "-b1",
			"-cf", "x.slip", verify.HeadName, "app.tree.chunks", "app.tree")
		made, err := os.ReadFile(filepath.Join(dir, "x.slip"))
		if err != nil {
			t.Fatal(err)
		}
		if same := bytes.Equal(made, f.file); same != row.same {
			t.Errorf("tar --format=%s: same bytes: %v, want %v", row.format, same, row.same)
		}
		if err := f.open(made); (err == nil) != row.same {
			t.Errorf("tar --format=%s: %v", row.format, err)
		}
	}
}

func TestOpenSSLChecksTheSignature(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	var b verify.Bundle
	if err := json.Unmarshal(f.head, &b); err != nil {
		t.Fatal(err)
	}
	sig, err := base64.StdEncoding.DecodeString(b.DSSE.Signatures[0].Sig)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "key.pub"), string(publicPEM(t, f.key)), 0o644)
	writeFile(t, filepath.Join(dir, "sig"), string(sig), 0o644)
	writeFile(t, filepath.Join(dir, "pae"), string(dsse.PAE(b.DSSE.PayloadType, f.payload)), 0o644)
	if got, want := command(t, dir, "openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", "pae"), "Verified OK\n"; got != want {
		t.Errorf("openssl says %q, want %q", got, want)
	}
}

func TestOpenSSLKeySigns(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	command(t, dir, "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "rel.pem")
	command(t, dir, "openssl", "pkey", "-in", "rel.pem", "-pubout", "-out", "rel.pub")
	writeFile(t, filepath.Join(dir, "pae"), string(dsse.PAE(verify.PayloadType, f.payload)), 0o644)
	command(t, dir, "openssl", "dgst", "-sha256", "-sign", "rel.pem", "-out", "sig", "pae")
	sig, err := os.ReadFile(filepath.Join(dir, "sig"))
	if err != nil {
		t.Fatal(err)
	}
	head, err := json.Marshal(map[string]any{
		"mediaType":            verify.MediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]any{}},
		"dsseEnvelope": map[string]any{"payloadType": verify.PayloadType, "payload": f.payload,
			"signatures": []any{map[string]any{"sig": sig}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.LoadTrust(filepath.Join(dir, "rel.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if err := openAll(archive(head, f.index, f.image), trust, f.dev); err != nil {
		t.Errorf("a package signed by openssl: %v", err)
	}
}
