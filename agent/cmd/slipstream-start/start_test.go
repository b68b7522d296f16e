package main_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/slots"
)

// patience bounds every wait, on a busy machine.
const patience = 60 * time.Second

// box is a device's files: the start program with the built-in agent beside it, and
// slots with others. The agents are scripts that say who they are.
type box struct {
	*testing.T
	dir, start, state, run, config string
	set                            *slots.Set
}

func newBox(t *testing.T) *box {
	t.Helper()
	dir, err := os.MkdirTemp("", "slip") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &box{
		T: t, dir: dir, start: filepath.Join(dir, "built-in", "slipstream-start"), state: filepath.Join(dir, "state"),
		run: filepath.Join(dir, "run"), config: filepath.Join(dir, "slipstream.toml"),
	}
	for _, d := range []string{filepath.Dir(b.start), b.state, b.run} {
		b.must(os.Mkdir(d, 0o755))
	}
	if out, err := exec.Command("go", "build", "-o", b.start, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.must(os.WriteFile(filepath.Join(dir, "built-in", "slipstream"), []byte(script("built-in")), 0o755))
	b.must(os.WriteFile(b.config, fmt.Appendf(nil, "device = \"d\"\nproduct = \"p\"\nhardware = \"h\"\nstate = %q\nrun = %q\n", b.state, b.run), 0o644))
	set, err := slots.Open(filepath.Join(b.state, "runtime"), slots.Options{})
	b.must(err)
	b.set = set
	t.Cleanup(func() { set.Close() })
	return b
}

func script(name string) string { return "#!/bin/sh\necho " + name + " \"$@\" \"$SLIPSTREAM_START\"\n" }

func (b *box) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// stage puts an agent into a slot.
func (b *box) stage(slot, version, text string) {
	b.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	b.must(w.WriteHeader(&tar.Header{
		Format: tar.FormatUSTAR, Name: "slipstream", Typeflag: tar.TypeReg, Mode: 0o755, ModTime: time.Unix(0, 0), Size: int64(len(text)),
	}))
	_, err := w.Write([]byte(text))
	b.must(err)
	b.must(w.Close())
	_, err = b.set.Stage(b.Context(), slot, slots.Content{
		Digest: "d" + version, Version: version, Kind: slots.KindTree, Size: int64(raw.Len()), SHA256: sha256.Sum256(raw.Bytes()),
		Image: slots.File(bytes.NewReader(raw.Bytes())), Manifest: []byte("m"),
		Chunks: []slots.Chunk{{Length: uint32(raw.Len()), SHA256: sha256.Sum256(raw.Bytes())}},
	}, slots.StageOptions{})
	b.must(err)
}

// permanent writes the record.
func (b *box) permanent(slot, version string) {
	b.Helper()
	f, err := slots.OpenRecord(b.state)
	b.must(err)
	defer f.Close()
	b.must(f.Replace(slots.Record{System: "a", Runtime: map[string]slots.Runtime{"a": {Slot: slot, Digest: "d" + version, Version: version}}}))
}

// asks is the word of an agent.
func (b *box) asks(slot, version string, within time.Duration) {
	b.Helper()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	b.must(err)
	var now unix.Timespec
	b.must(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	b.must(slots.AskTry(b.run, slots.Try{
		Boot: strings.TrimSpace(string(boot)), Slot: slot, Digest: "d" + version, Version: version, Deadline: now.Nano() + int64(within),
	}))
}

// starts says who was started, and checks what it was given.
func (b *box) starts() (who, said string) {
	b.Helper()
	var words bytes.Buffer
	cmd := exec.CommandContext(b.Context(), b.start, "agent", "--config", b.config)
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%v\n%s", err, words.String())
	}
	who, given, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if want := "agent --config " + b.config + " " + b.start; given != want {
		b.Errorf("%s was given %q, want %q", who, given, want)
	}
	return who, words.String()
}

func (b *box) expect(want, says string) {
	b.Helper()
	if who, said := b.starts(); who != want || !strings.Contains(said, says) || says == "" && said != "" {
		b.Errorf("started %s, which is not %s, or not with %q: %s", who, want, says, said)
	}
}

func TestThePermanentVersionIsStarted(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.expect("built-in", "")
	b.stage("b", "2.0.0", script("two"))
	b.expect("built-in", "") // staged is not permanent
	b.permanent("b", "2.0.0")
	b.expect("two", "")
	b.must(os.WriteFile(filepath.Join(b.set.Root("b"), "slipstream"), []byte(script("foe")), 0o755))
	b.expect("built-in", "the built-in programs run: slot b")
}

func TestAVersionThatCannotBeExecutedIsNotTheEnd(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.stage("b", "2.0.0", "#!"+b.dir+"/no-interpreter\n")
	b.permanent("b", "2.0.0")
	b.expect("built-in", "no such file")
	b.asks("b", "2.0.0", time.Hour)
	b.expect("built-in", "no such file")
	if slots.TryUnderWay(b.run) {
		t.Error("a try that came to nothing is under way")
	}
}

func TestAVersionThatNeverComesUpIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.stage("b", "2.0.0", script("two"))
	b.permanent("b", "2.0.0")
	for range 5 {
		b.expect("two", "")
	}
	b.expect("built-in", "never came up")
	b.must(slots.ProveStart(b.run))
	b.expect("two", "")
}

func TestATrialIsStartedOnce(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.stage("a", "1.0.0", script("one"))
	b.permanent("a", "1.0.0")
	b.stage("b", "2.0.0", script("two"))
	b.asks("b", "2.0.0", time.Hour)
	b.expect("two", "")
	if !slots.TryUnderWay(b.run) {
		t.Error("no try is under way")
	}
	b.expect("one", "")
	if slots.TryUnderWay(b.run) {
		t.Error("the try is under way still")
	}
	b.asks("b", "3.0.0", time.Hour)
	b.expect("one", "version 3.0.0 is not tried")
	b.expect("one", "")
}

// An agent on trial that hangs is killed, and then the permanent one is started.
func TestATrialThatDoesNotEndIsEnded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.stage("b", "2.0.0", "#!/bin/sh\nexec sleep 1000\n")
	b.asks("b", "2.0.0", 0)
	cmd := exec.Command(b.start, "agent", "--config", b.config)
	b.must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("it was not ended")
		cmd.Process.Kill()
		<-ended
	}
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
		t.Errorf("it %v", cmd.ProcessState)
	}
	b.expect("built-in", "")
}

// One whose trial is over is left alone.
func TestATrialThatIsOverIsNotEnded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.stage("b", "2.0.0", "#!/bin/sh\necho up\nread word\n")
	b.asks("b", "2.0.0", 2*time.Second)
	cmd := exec.Command(b.start, "agent", "--config", b.config)
	in, err := cmd.StdinPipe()
	b.must(err)
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(cmd.Start())
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	b.must(slots.EndTry(b.run))
	for late := time.Now().Add(patience); judges(b.run) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("its judge stays")
		}
	}
	in.Close()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() < 0 {
		t.Errorf("it was ended: %v", err)
	}
}

// judges counts those that watch over a run directory.
func judges(run string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if raw, err := os.ReadFile(file); err == nil && bytes.Contains(raw, []byte("\x00judge\x00"+run+"\x00")) {
			n++
		}
	}
	return n
}

func TestAConfigurationThatCannotBeReadIsTheAgentsMatter(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.stage("b", "2.0.0", script("two"))
	b.permanent("b", "2.0.0")
	b.must(os.WriteFile(b.config, []byte("sate = 1\n"), 0o644))
	b.expect("built-in", "sate")
}
