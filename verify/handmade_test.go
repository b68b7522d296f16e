package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/verify"
	"slipstream/verify/pack"
)

var (
	cosignPath = flag.String("cosign", "", "program with which to test for real what otherwise a stand-in and golden files show")
	rewrite    = flag.Bool("rewrite", false, "write the golden files anew, with -cosign")
)

// standIn does for cosign what its manual says that it does, with openssl: in it
// nothing of ours is known either.
const standIn = `#!/bin/sh
set -eu
while [ $# -gt 0 ]; do
	case $1 in
	--statement) statement=$2 ;;
	--bundle) bundle=$2 ;;
	--key) key=$2 ;;
	esac
	shift
done
[ -n "${statement-}" ] || exit 0
type=application/vnd.in-toto+json
{ printf 'DSSEv1 %d %s %d ' ${#type} $type $(wc -c < "$statement"); cat "$statement"; } > pae
openssl dgst -sha256 -sign "$key" -out sig pae
jq -n -c --arg type $type --rawfile payload "$statement" --arg sig $(base64 -w0 sig) '
	{mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", verificationMaterial: {publicKey: {hint: ""}},
	 dsseEnvelope: {payload: ($payload | @base64), payloadType: $type, signatures: [{sig: $sig}]}}' > "$bundle"
`

// workshop is a directory with an app, a key and the tools of somebody who has
// nothing of ours but the documentation.
type workshop struct {
	t   *testing.T
	dir string
	env []string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	for _, name := range []string{"tar", "jq", "openssl", "basenc"} {
		tool(t, name)
	}
	w := &workshop{t: t, dir: t.TempDir()}
	bin := filepath.Join(w.dir, "bin")
	writeFile(t, filepath.Join(w.dir, "app/camera"), "#!/bin/sh\nexec sleep 1000\n", 0o700)
	writeFile(t, filepath.Join(w.dir, "app/etc/config"), strings.Repeat("quality=high\n", 5100), 0o600)
	writeFile(t, filepath.Join(w.dir, "app/etc-more"), "x", 0o664)
	if err := os.Symlink("../camera", filepath.Join(w.dir, "app/etc/self")); err != nil {
		t.Fatal(err)
	}
	cosign := standIn
	if *cosignPath != "" {
		cosign = fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", offline(t), *cosignPath)
	}
	writeFile(t, filepath.Join(bin, "cosign"), cosign, 0o755)
	w.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "COSIGN_PASSWORD=x", "HOME="+w.dir)
	w.run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out release.key && openssl pkey -in release.key -pubout -out release.pub")
	if *cosignPath != "" {
		w.run("cosign import-key-pair --yes --key release.key --output-key-prefix imported && mv imported.key release.key && cmp imported.pub release.pub")
	}
	return w
}

// offline is the command that takes the network away, where that is permitted.
func offline(t *testing.T) string {
	t.Helper()
	for _, command := range []string{"unshare -n", "unshare -rn"} {
		if exec.CommandContext(t.Context(), "sh", "-c", command+" true").Run() == nil {
			return command
		}
	}
	t.Log("the network cannot be taken away here")
	return ""
}

func (w *workshop) try(script string) (string, error) {
	cmd := exec.CommandContext(w.t.Context(), "sh", "-c", script)
	cmd.Dir, cmd.Env = w.dir, w.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *workshop) run(script string) {
	w.t.Helper()
	if out, err := w.try(script); err != nil {
		w.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func (w *workshop) read(name string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *workshop) trust() *verify.Trust {
	w.t.Helper()
	trust, err := verify.LoadTrust(filepath.Join(w.dir, "release.pub"))
	if err != nil {
		w.t.Fatal(err)
	}
	return trust
}

var anyGatecam = verify.Device{Product: "gatecam", Hardware: "cam-a1"}

// Exactly the lines of the documentation make a package that a device takes, with
// the same image as ours would have.
func TestPackageMadeByHand(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	w.run(documented(t, making))
	file := w.read("gatecam-2.0.0.slip")
	if err := openAll(file, w.trust(), anyGatecam); err != nil {
		t.Fatal(err)
	}
	var ours bytes.Buffer
	m, err := pack.Build(t.Context(), &ours, pack.Options{Dir: filepath.Join(w.dir, "app"), Manifest: template(), Key: newKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(w.read("app.tree")); m.Images[0].SHA256 != hex.EncodeToString(sum[:]) {
		t.Error("tar makes another image than ours")
	}
	if *rewrite && *cosignPath != "" {
		writeFile(t, "testdata/interop/by-hand.slip", string(file), 0o644)
		writeFile(t, "testdata/interop/by-hand.pub", string(w.read("release.pub")), 0o644)
	}
}

// The same, as tar, coreutils and cosign v3.1.3 once made it.
func TestGoldenPackageMadeByHand(t *testing.T) {
	trust, err := verify.LoadTrust("testdata/interop/by-hand.pub")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("testdata/interop/by-hand.slip")
	if err != nil {
		t.Fatal(err)
	}
	if err := openAll(file, trust, anyGatecam); err != nil {
		t.Error(err)
	}
}

// cosignSays is cosign's word on a file of a package.
func (w *workshop) cosignSays(file string) error {
	_, err := w.try("cosign verify-blob-attestation --key release.pub --bundle manifest.sigstore.json " +
		"--type urn:slipstream:release:v1 --insecure-ignore-tlog=true " + file)
	return err
}

// build makes a package for cosign to sign, signs it so, and unpacks it.
func (w *workshop) build() []byte {
	w.t.Helper()
	path, err := pack.BuildFile(w.t.Context(), w.dir, pack.Options{Dir: filepath.Join(w.dir, "app"), Manifest: template(), Unsigned: true})
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := pack.OpenFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	writeFile(w.t, filepath.Join(w.dir, "statement.json"), string(f.Payload), 0o644)
	w.run("cosign signing-config create --out signing.json && cosign trusted-root create --out trusted.json")
	w.run("cosign attest-blob --yes --key release.key --signing-config signing.json --trusted-root trusted.json " +
		"--statement statement.json --bundle signed.json")
	public, err := pack.LoadPublicKey(filepath.Join(w.dir, "release.pub"))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := f.AttachBundle(w.read("signed.json"), public); err != nil {
		w.t.Fatal(err)
	}
	if err := f.Save(path); err != nil {
		w.t.Fatal(err)
	}
	w.run("tar -xf " + filepath.Base(path))
	return w.read(filepath.Base(path))
}

// cosign signs the statement of a package of ours, and checks its files. Where it
// does not look, our reader and the documented check do.
func TestCosignSignsAndChecks(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	file := w.build()
	if err := openAll(file, w.trust(), anyGatecam); err != nil {
		t.Fatal(err)
	}
	if *cosignPath == "" {
		return
	}
	for _, name := range []string{"app.tree", "app.tree.chunks"} {
		if err := w.cosignSays(name); err != nil {
			t.Errorf("cosign refuses %s: %v", name, err)
		}
	}
	w.run("cp app.tree whole && printf x >>app.tree")
	if w.cosignSays("app.tree") == nil {
		t.Error("cosign takes a changed image")
	}
	w.run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout -out release.pub")
	if w.cosignSays("whole") == nil {
		t.Error("cosign takes another key")
	}
}

// Two files of a package change places: cosign finds each among the subjects, and
// our reader and the documented check find it in the wrong place.
func TestSwappedSubjects(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	w.build()
	head, index, image := w.read("manifest.sigstore.json"), w.read("app.tree.chunks"), w.read("app.tree")
	w.run("mv app.tree swapped && mv app.tree.chunks app.tree && mv swapped app.tree.chunks")
	if *cosignPath != "" {
		for _, name := range []string{"app.tree", "app.tree.chunks"} {
			if err := w.cosignSays(name); err != nil {
				t.Errorf("cosign refuses %s, which is one of the subjects: %v", name, err)
			}
		}
	}
	for name, swapped := range map[string][]byte{
		"contents": join(member(verify.HeadName, head), member("app.tree.chunks", image), member("app.tree", index), make([]byte, 1024)),
		"places":   join(member(verify.HeadName, head), member("app.tree", image), member("app.tree.chunks", index), make([]byte, 1024)),
	} {
		if err := openAll(swapped, w.trust(), anyGatecam); verify.Code(err) == "" {
			t.Errorf("%s: our reader says %v", name, err)
		}
		writeFile(t, filepath.Join(w.dir, "x.slip"), string(swapped), 0o644)
		w.run("cp release.pub key.pub")
		if out, err := w.try(documented(t, checking)); err == nil {
			t.Errorf("%s: the documented check lets it pass:\n%s", name, out)
		}
	}
}
