package testrig_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/stream/publish"
	"slipstream/testrig/device"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// cli runs the technician's command on the device.
func (r *rig) cli(args ...string) (stdout, stderr string, exit int) {
	r.t.Helper()
	cmd := exec.CommandContext(r.ctx, filepath.Join(r.bin, "slipstream"), append([]string{"--socket", r.Config.Socket()}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		r.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// A package that must not run is refused in one line that says why, and nothing
// on the device changes.
func TestRefusedPackagesChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.mustBecome(r.build(release("1.0")))
	v := r.watch("1.0")
	from := publish.Monotonic()
	good := readFile(t, r.build(release("2.0")))
	stranger, err := pack.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	three := release("3.0")
	three.Counter = 50
	foreign, err := three.Build(r.ctx, r.bin, r.dir, stranger)
	if err != nil {
		t.Fatal(err)
	}
	before := r.picture()
	for _, c := range []struct {
		name string
		pkg  []byte
		want string
	}{
		{"flipped bytes all over the image", spoilt(good), "not the signed one"},
		{"a flipped byte in the manifest", flip(good, 700), ""},
		{"a flipped byte in a header", flip(good, 110), ""},
		{"truncated", good[:len(good)/3], ""},
		{"unsigned", unsigned(t, good), ""},
		{"signed by another key", readFile(t, foreign), ""},
		{"for other hardware", r.otherHardware(), "hardware"},
		{"not a package", []byte("hello"), ""},
		{"empty", nil, ""},
	} {
		path := filepath.Join(r.dir, "bad.slip")
		if err := os.WriteFile(path, c.pkg, 0o644); err != nil {
			t.Fatal(err)
		}
		_, said, exit := r.cli("install", path)
		if exit != 3 {
			t.Errorf("%s: exit %d, want 3", c.name, exit)
		}
		said = reason(said)
		if said == "" || strings.Contains(said, "\n") || !strings.Contains(said, c.want) {
			t.Errorf("%s: said %q, want one line with %q", c.name, said, c.want)
		}
		t.Logf("%s: %s", c.name, said)
		if after := r.picture(); after != before {
			t.Errorf("%s: the device changed\nbefore %s\nafter  %s", c.name, before, after)
		}
	}
	clean(t, v, from, publish.Monotonic())
}

// reason is what a command said at last, after the lines of its progress.
func reason(said string) string {
	var why []string
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "staging ") {
			why = append(why, strings.TrimSpace(line))
		}
	}
	return strings.Join(why, "\n")
}

// picture is what must not change: who is permanent, what the slots hold, which
// process runs, and the record's bytes.
func (r *rig) picture() string {
	r.t.Helper()
	s, err := r.Client.Status(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range s.Slots {
		s.Slots[i].Status = ""
	}
	view, err := json.Marshal([]any{s.Phase, s.Permanent, s.Slots, s.Trial})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range []string{"record.0", "record.1"} {
		b, err := os.ReadFile(filepath.Join(r.Config.State, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
		view = append(view, b...)
	}
	return string(view)
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x20
	return b
}

// spoilt is the package with a flipped byte each few kilobytes of its image. One
// alone may lie in a chunk that the device has already, and so never reads.
func spoilt(pkg []byte) []byte {
	pkg = bytes.Clone(pkg)
	for at := len(pkg) / 4; at < len(pkg)-4096; at += 4096 {
		pkg[at] ^= 0x20
	}
	return pkg
}

// unsigned is the package with its signature's text emptied.
func unsigned(t *testing.T, pkg []byte) []byte {
	t.Helper()
	i := bytes.Index(pkg, []byte(`"sig":"`))
	if i < 0 {
		t.Fatal("no signature found in the package")
	}
	b := bytes.Clone(pkg)
	for i += len(`"sig":"`); b[i] != '"'; i++ {
		b[i] = 'A'
	}
	return b
}

func (r *rig) otherHardware() []byte {
	r.t.Helper()
	app := times()
	app.Exec = []string{"run"}
	app.Streams = []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}
	dir := r.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		r.t.Fatal(err)
	}
	path, err := pack.BuildFile(r.ctx, r.dir, pack.Options{Dir: dir, Key: r.key, Manifest: verify.Manifest{
		Product: device.Product, Hardware: []string{"another-board"}, Version: "9.0.0", ReleaseCounter: 99, App: &app,
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return readFile(r.t, path)
}

func touch(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrNotExist) {
		return // the trial is over and its directory gone
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
