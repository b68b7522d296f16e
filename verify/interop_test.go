package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// A package must be checkable without our code; these tests do it by hand, with
// tools that every workshop has.

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; make test installs it", name)
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

// The sections of the package's documentation that are shell scripts.
const (
	checking = "Checking a package without this code"
	making   = "Making a package without this code"
)

// documented is the shell script in a section of the package's documentation.
func documented(t *testing.T, title string) string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "// # "+title+"\n")
	section, _, found := strings.Cut(section, "\n// # ")
	if !found {
		t.Fatalf("the documentation has no section %q", title)
	}
	var script strings.Builder
	for line := range strings.Lines(section) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			script.WriteString(code)
		}
	}
	return script.String()
}

// byHand runs the documented script on a package.
func byHand(t *testing.T, script string, key *ecdsa.PrivateKey, file []byte) (string, error) {
	t.Helper()
	for _, name := range []string{"tar", "openssl", "jq", "sha256sum"} {
		tool(t, name)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "key.pub"), string(publicPEM(t, key)), 0o644)
	writeFile(t, filepath.Join(dir, "x.slip"), string(file), 0o644)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestTheDocumentedCheck(t *testing.T) {
	f := newFixture(t)
	script := documented(t, checking)
	out, err := byHand(t, script, f.key, f.file)
	digest := sha256.Sum256(f.payload)
	want := "key.pub has signed it\napp.tree.chunks: OK\napp.tree: OK\n" + hex.EncodeToString(digest[:]) + "  -\n"
	if err != nil || out != want {
		t.Errorf("the documented check says %q, want %q: %v", out, want, err)
	}

	changed := bytes.Clone(f.image)
	changed[0] ^= 1
	other := bytes.Replace(f.payload, []byte(verify.PredicateType), []byte("urn:slipstream:records:v1"), 1)
	swapped := f.statement(func(m *verify.Manifest) { m.Images[0].Name = "app.eert" })
	swapped = bytes.Replace(swapped, []byte(`"images":[{"name":"app.eert"`), []byte(`"images":[{"name":"app.tree"`), 1)
	for _, row := range []struct {
		name string
		key  *ecdsa.PrivateKey
		file []byte
	}{
		{"another key", f.stranger, f.file},
		{"a changed statement", f.key, archive(f.replace(f.head, `"payload":"`, `"payload":"ICAg`), f.index, f.image)},
		{"a changed image", f.key, archive(f.head, f.index, changed)},
		{"another document", f.key, archive(f.sign(other), f.index, f.image)},
		{"subjects that are not the images", f.key, join(member(verify.HeadName, f.sign(swapped)), member("app.eert.chunks", f.index),
			member("app.eert", f.image), make([]byte, 1024))},
		{"a file too many", f.key, join(member(verify.HeadName, f.head), member("app.tree.chunks", f.index),
			member("app.tree", f.image), member("more", nil), make([]byte, 1024))},
		{"a second signature over another statement", f.key, join(member(verify.HeadName, f.head),
			member("manifest.2.sigstore.json", f.sign(other)), member("app.tree.chunks", f.index), member("app.tree", f.image), make([]byte, 1024))},
		{"swapped files", f.key, join(member(verify.HeadName, f.head), member("app.tree", f.index),
			member("app.tree.chunks", f.image), make([]byte, 1024))},
	} {
		if out, err := byHand(t, script, row.key, row.file); err == nil {
			t.Errorf("%s: the documented check lets it pass:\n%s", row.name, out)
		}
	}
}

// One key is one signer, however often it has signed.
func TestTheDocumentedCheckCountsKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	two := strings.Replace(documented(t, checking), "need=1", "need=2", 1)
	twice := trusttest.Bundles(t, verify.PayloadType, f.payload, f.key, f.key)
	file := join(member(verify.HeadName, twice[0]), member("manifest.2.sigstore.json", twice[1]),
		member("app.tree.chunks", f.index), member("app.tree", f.image), make([]byte, 1024))
	if out, err := byHand(t, two, f.key, file); err == nil || strings.Count(out, "has signed it") != 2 {
		t.Errorf("one key's two signatures count as two signers: %v\n%s", err, out)
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
