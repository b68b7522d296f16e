package agent_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// newMounter is a device that may mount images.
func newMounter(t *testing.T) *device {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting images needs root")
	}
	d := newDevice(t)
	t.Cleanup(func() {
		for _, slot := range []string{"a", "b"} {
			unix.Unmount(d.root(slot), unix.MNT_DETACH)
		}
	})
	return d
}

func (d *device) root(slot string) string { return filepath.Join(d.cfg.State, "slots", slot, "root") }

// packKind builds a package whose app lies in an image of that kind.
func (d *device) packKind(kind, version string, change func(*pack.Options)) string {
	d.Helper()
	dir := d.TempDir()
	d.must(os.WriteFile(filepath.Join(dir, "app"), []byte(appHead+goodApp+"\n# "+version+"\n"), 0o755))
	d.counts++
	opts := pack.Options{
		Images: []pack.Source{{Kind: kind, Path: dir}}, Key: d.key,
		Manifest: verify.Manifest{
			Product: "camera", Hardware: []string{"rev-a"}, Version: version, ReleaseCounter: d.counts,
			App: &verify.App{
				Exec: []string{"app"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}},
				StartTimeoutMS: 10_000, DeadlineMS: 20_000, SoakMS: 50, StopTimeoutMS: 1000, RestartMax: 3, RestartWindow: 60_000,
			},
		},
	}
	if change != nil {
		change(&opts)
	}
	path, err := pack.BuildFile(d.Context(), d.TempDir(), opts)
	d.must(err)
	return path
}

// mountedAs is the file system at a slot's root, "" if nothing is mounted there.
func (d *device) mountedAs(slot string) string {
	d.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	d.must(err)
	for line := range strings.Lines(string(raw)) {
		if before, after, ok := strings.Cut(line, " - "); ok && strings.Contains(before, " "+d.root(slot)+" ") {
			kind, _, _ := strings.Cut(after, " ")
			return kind
		}
	}
	return ""
}

func TestAppsRunFromMountedImages(t *testing.T) {
	t.Parallel()
	d := newMounter(t)
	for i, step := range []struct{ kind, slot string }{
		{verify.KindSquashfs, "a"}, {verify.KindErofs, "b"}, {verify.KindTree, "a"}, {verify.KindSquashfs, "b"},
	} {
		version := string(rune('1'+i)) + ".0.0"
		if r := d.install(d.packKind(step.kind, version, nil)); r.Exit != control.ExitDone {
			t.Fatalf("install %s: %+v", version, r)
		}
		want := step.kind
		if want == verify.KindTree {
			want = ""
		}
		if got := d.mountedAs(step.slot); got != want {
			t.Errorf("%s: slot %s has %q mounted, want %q", version, step.slot, got, want)
		}
		d.wait("end of the old app", func(s control.Status) bool {
			return s.Permanent == version && slot(s, map[string]string{"a": "b", "b": "a"}[step.slot]).App != "ready"
		})
		d.restart() // what is mounted is found again
	}
	s := d.wait("app", func(s control.Status) bool { return slot(s, "b").App == "ready" })
	if s.Permanent != "4.0.0" {
		t.Errorf("status: %+v", s)
	}
	app, err := os.ReadFile(filepath.Join(d.root("b"), "app"))
	if err != nil || !strings.Contains(string(app), "# 4.0.0") {
		t.Errorf("the app in slot b is %q, %v", app, err)
	}
}

// An image that was changed on disk is not mounted: where the kernel cannot guard it,
// it is read whole before.
func TestADamagedImageIsNotStarted(t *testing.T) {
	t.Parallel()
	d := newMounter(t)
	d.mustInstall("1.0.0")
	if r := d.stage(d.packKind(verify.KindSquashfs, "2.0.0", func(o *pack.Options) { o.NoVerity = true })); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	image := filepath.Join(d.cfg.State, "slots", "b", "image")
	raw, err := os.ReadFile(image)
	d.must(err)
	raw[len(raw)/2] ^= 1
	d.must(os.WriteFile(image, raw, 0o644))
	r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true})
	if r.Exit != control.ExitReverted || !strings.Contains(r.Record.Detail, slots.ErrDamaged.Error()) || d.mountedAs("b") != "" {
		t.Errorf("activate: %+v, mounted %q", r, d.mountedAs("b"))
	}
}

// The slot's own note of the hash tree is believed only as far as it was signed.
func TestAnotherHashTreeIsNotBelieved(t *testing.T) {
	t.Parallel()
	d := newMounter(t)
	d.mustInstall("1.0.0")
	path := d.packKind(verify.KindSquashfs, "2.0.0", nil)
	f, err := pack.OpenFile(path)
	d.must(err)
	root := f.Manifest.Images[0].Verity.RootHash
	d.must(f.Close())
	if r := d.stage(path); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	note := filepath.Join(d.cfg.State, "slots", "b", "state.json")
	raw, err := os.ReadFile(note)
	d.must(err)
	if !bytes.Contains(raw, []byte(root)) {
		t.Fatalf("the note has no root hash %s: %s", root, raw)
	}
	d.must(os.WriteFile(note, bytes.ReplaceAll(raw, []byte(root), []byte(strings.Repeat("0", 64))), 0o644))
	r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true})
	if r.Exit == control.ExitDone || r.Record == nil || !strings.Contains(r.Record.Detail, "does not hold the image that was signed") || d.mountedAs("b") != "" {
		t.Errorf("activate: %+v, mounted %q", r, d.mountedAs("b"))
	}
}

// The package is rightly signed, and its root hash is that of another image.
func TestARootHashThatLiesIsRefused(t *testing.T) {
	t.Parallel()
	d := newMounter(t)
	d.mustInstall("1.0.0")
	path := d.packKind(verify.KindErofs, "2.0.0", func(o *pack.Options) { o.Key, o.Unsigned = nil, true })
	f, err := pack.OpenFile(path)
	d.must(err)
	defer f.Close()
	f.Payload = bytes.Replace(f.Payload, []byte(f.Manifest.Images[0].Verity.RootHash), []byte(strings.Repeat("0", 64)), 1)
	signer, err := pack.KeySigner(d.key)
	d.must(err)
	d.must(f.Sign(d.Context(), signer))
	lies := filepath.Join(t.TempDir(), "lies.slip")
	d.must(f.Save(lies))
	r := d.stage(lies)
	if r.Exit != control.ExitRefused || r.Code != verify.CodeVerity || !strings.Contains(r.Message, "built wrongly") {
		t.Errorf("stage: %+v", r)
	}
	if s := d.wait("idle", inPhase("idle")); s.Permanent != "1.0.0" || slot(s, "a").App != "ready" || slot(s, "b").State == control.StateStaged {
		t.Errorf("status: %+v", s)
	}
}
