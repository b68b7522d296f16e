package boot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/slots/boot"
)

// The environments here are written and read in turns by package boot and by
// Debian's libubootenv-tool, which is what a technician has on the device.

// tools is an environment in a file, with the tools' configuration for it.
type tools struct {
	*testing.T
	file, config, initial string
	wait                  time.Duration // for the lock
}

func newTools(t *testing.T, size, copies int) *tools {
	dir := t.TempDir()
	e := &tools{t, filepath.Join(dir, "env"), filepath.Join(dir, "fw_env.config"), filepath.Join(dir, "initial"), 0}
	e.write(e.file, bytes.Repeat([]byte{0xff}, 0x1000+copies*size))
	text := "# Device  offset  size\n"
	for i := range copies {
		text += fmt.Sprintf("%s %#x %#x\n", e.file, 0x200+i*size, size)
	}
	e.write(e.config, []byte(text))
	e.write(e.initial, []byte("bootcmd=run distro\nbootdelay=2\nBOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=3\n"))
	return e
}

func (e *tools) write(name string, data []byte) {
	e.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		e.Fatal(err)
	}
}

func (e *tools) read(name string) []byte {
	e.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		e.Fatal(err)
	}
	return data
}

// run runs fw_printenv or fw_setenv.
func (e *tools) run(args ...string) string {
	e.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		e.Fatalf("%s is needed (Debian package libubootenv-tool): %v", args[0], err)
	}
	cmd := exec.CommandContext(context.Background(), path, append([]string{"-c", e.config, "-f", e.initial}, args[1:]...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (e *tools) get(name string) string {
	e.Helper()
	out := e.run("fw_printenv", name)
	return strings.TrimSuffix(strings.TrimPrefix(out, name+"="), "\n")
}

func (e *tools) control(d boot.Dialect) boot.Control {
	e.Helper()
	config, err := boot.ReadFWEnvConfig(e.config)
	if err != nil {
		e.Fatal(err)
	}
	config.Initial = string(e.read(e.initial))
	config.Wait = e.wait
	c, err := boot.NewEnv(config, d)
	if err != nil {
		e.Fatal(err)
	}
	return c
}

func (e *tools) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

func TestToolsReadWhatWeWrite(t *testing.T) {
	t.Parallel()
	for _, copies := range []int{1, 2} {
		t.Run(fmt.Sprint(copies), func(t *testing.T) {
			e := newTools(t, 0x2000, copies)
			c := e.control(boot.Order{})
			e.must(c.Commit("a"))
			e.must(c.Try("b"))
			for name, want := range map[string]string{"BOOT_ORDER": "B A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "1", "bootcmd": "run distro"} {
				if got := e.get(name); got != want {
					t.Errorf("fw_printenv says %s=%q, want %q", name, got, want)
				}
			}
			e.must(c.Commit("b"))
			if got := e.get("BOOT_ORDER") + e.get("BOOT_B_LEFT"); got != "B A3" {
				t.Errorf("fw_printenv says %q after the commit", got)
			}
		})
	}
}

func TestWeReadWhatToolsWrite(t *testing.T) {
	t.Parallel()
	for _, copies := range []int{1, 2} {
		t.Run(fmt.Sprint(copies), func(t *testing.T) {
			e := newTools(t, 0x1000, copies)
			e.run("fw_setenv", "BOOT_B_LEFT", "1") // the environment is made of the initial one
			e.run("fw_setenv", "BOOT_ORDER", "B A")
			e.run("fw_setenv", "slip_good", "A")
			s, err := e.control(boot.Order{}).State()
			e.must(err)
			if s.Permanent != "a" || s.Trial != "b" || s.Slots["b"].TriesLeft != 1 || s.Slots["a"].TriesLeft != 3 {
				t.Errorf("the state is %+v", s)
			}
			e.run("fw_setenv", "BOOT_B_LEFT") // deleted: the script takes it for full
			s, err = e.control(boot.Order{}).State()
			e.must(err)
			if s.Slots["b"].TriesLeft != 3 {
				t.Errorf("without BOOT_B_LEFT the state is %+v", s)
			}
		})
	}
}

// The flag of the copies is one byte and wraps; 600 writes, ours and the tool's
// in turns, pass that place twice, once with each copy before it.
func TestFlagWrapsInTurns(t *testing.T) {
	t.Parallel()
	e := newTools(t, 0x400, 2)
	e.must(e.control(boot.Trial{}).Commit("a"))
	first := e.read(e.file)
	e.wrap()
	// The same with the copies exchanged: what is even becomes odd.
	other := bytes.Clone(first)
	copy(other[0x200:], first[0x600:0xa00])
	copy(other[0x600:], first[0x200:0x600])
	e.write(e.file, other)
	e.wrap()
}

// wrap writes until the flag has come around, and near that place with the tool
// in turns, comparing after each write.
func (e *tools) wrap() {
	c := e.control(boot.Trial{})
	compared := 0
	for i := range 270 {
		raw := e.read(e.file)
		near := max(raw[0x204]+3, raw[0x604]+3) < 8 // from 253 to 4
		switch {
		case near && i%3 == 0:
			e.run("fw_setenv", "round", fmt.Sprint(i))
			if got := e.get("round"); got != fmt.Sprint(i) {
				e.Fatalf("write %d: the tool reads its own write as %q", i, got)
			}
		case !e.trial(c):
			e.must(c.Try("b"))
		default:
			e.must(c.Cancel())
		}
		if !near {
			continue
		}
		compared++
		if got, trial := e.run("fw_printenv"), e.trial(c); strings.Contains(got, "st_try=B\n") != trial {
			e.Fatalf("write %d, flags %d and %d: trial %v, fw_printenv says\n%s", i, raw[0x204], raw[0x604], trial, got)
		}
	}
	if compared < 6 {
		e.Fatalf("compared %d times: the flag did not come around", compared)
	}
}

func (e *tools) trial(c boot.Control) bool {
	e.Helper()
	s, err := c.State()
	e.must(err)
	return s.Trial == "b"
}

// Whichever copy is damaged, we and the tool agree on what is left, and the next
// write of either repairs it.
func TestDamagedCopyIsJudgedAlike(t *testing.T) {
	t.Parallel()
	e := newTools(t, 0x400, 2)
	c := e.control(boot.Trial{})
	e.must(c.Commit("a"))
	e.must(c.Try("b"))
	whole := e.read(e.file)
	for i := range 2 {
		for _, at := range []int64{0, 5, 9, 0x3ff} {
			e.write(e.file, whole)
			flip(t, e.file, int64(0x200+i*0x400)+at)
			s, err := c.State()
			e.must(err)
			if tried := strings.Contains(e.run("fw_printenv"), "st_try=B"); tried != (s.Trial == "b") {
				t.Errorf("copy %d damaged at %d: trial %q here, the tool says %v", i, at, s.Trial, tried)
			}
			e.run("fw_setenv", "seen", "yes")
			if after, err := c.State(); err != nil || after.Trial != s.Trial {
				t.Errorf("copy %d damaged at %d: after a write of the tool the state is %+v (%v), it was %+v", i, at, after, err, s)
			}
		}
	}
	flip(t, e.file, 0x204+5)
	flip(t, e.file, 0x604+5)
	if _, err := c.State(); !errors.Is(err, boot.ErrNoState) {
		t.Errorf("with both copies damaged: %v", err)
	}
}

// What others keep there stays as it is, in its place and its bytes.
func TestForeignVariablesAreKept(t *testing.T) {
	t.Parallel()
	e := newTools(t, 0x8000, 2)
	long := strings.Repeat("setenv x ${y}; ", 1500)
	e.run("fw_setenv", "zz_long", long)
	e.run("fw_setenv", "a_script", "if test -n \"${x}\"; then echo \xc3\xa9=1; fi")
	e.run("fw_setenv", "empty_later", "1")
	e.run("fw_setenv", "empty_later")
	before := e.run("fw_printenv")
	c := e.control(boot.BootCount{Variable: "mender_boot_part", A: "2", B: "3"})
	e.must(c.Commit("b"))
	e.must(c.Try("a"))
	if got := e.get("mender_boot_part") + e.get("upgrade_available") + e.get("bootlimit"); got != "211" {
		t.Errorf("the trial is written as %q", got)
	}
	e.must(c.Commit("b"))
	for _, name := range []string{"mender_boot_part", "upgrade_available", "bootlimit", "bootcount", "bootslot_spare"} {
		e.run("fw_setenv", name)
	}
	if after := e.run("fw_printenv"); after != before {
		t.Errorf("the environment was\n%.300s\nand is\n%.300s", before, after)
	}
}

// An environment without room is not half written.
func TestFullEnvironment(t *testing.T) {
	t.Parallel()
	e := newTools(t, 0x100, 2)
	e.run("fw_setenv", "fill", strings.Repeat("x", 0x100-5-len("BOOT_A_LEFT=3 BOOT_B_LEFT=3 BOOT_ORDER=A B bootcmd=run distro bootdelay=2 fill= ")-8))
	before := e.read(e.file)
	if err := e.control(boot.BootCount{}).Try("b"); err == nil || !strings.Contains(err.Error(), "room") {
		t.Errorf("an environment without room: %v", err)
	}
	if !bytes.Equal(e.read(e.file), before) {
		t.Error("it was changed")
	}
}

// fw_setenv waits for whoever has its lock, and so do we.
func TestLockIsTheTools(t *testing.T) {
	e := newTools(t, 0x400, 2)
	e.must(e.control(boot.Trial{}).Commit("a"))
	e.wait = time.Millisecond
	c := e.control(boot.Trial{})
	flock, err := exec.LookPath("flock")
	e.must(err)
	held := exec.CommandContext(t.Context(), flock, boot.DefaultLock, "sh", "-c", "echo held; read line")
	in, err := held.StdinPipe()
	e.must(err)
	out, err := held.StdoutPipe()
	e.must(err)
	e.must(held.Start())
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	_, busy := c.State()
	e.must(in.Close())
	_ = held.Wait() // read fails at the end of its input
	e.wait = 0
	if !errors.Is(busy, boot.ErrBusy) {
		t.Errorf("while fw_setenv's lock is held: %v", busy)
	}
	if _, err := e.control(boot.Trial{}).State(); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// mkenvimage makes what a factory flashes: padded with 0xff, one copy, flag 1.
func TestFactoryImage(t *testing.T) {
	t.Parallel()
	e := newTools(t, 0x400, 2)
	mkenvimage, err := exec.LookPath("mkenvimage")
	if err != nil {
		t.Fatalf("mkenvimage is needed (Debian package u-boot-tools): %v", err)
	}
	image := filepath.Join(t.TempDir(), "image")
	out, err := exec.CommandContext(t.Context(), mkenvimage, "-r", "-s", "0x400", "-o", image, e.initial).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	copy := e.read(image)
	e.write(e.file, append(append(append(make([]byte, 0x200), copy...), bytes.Repeat([]byte{0}, 0x400)...), 0))
	c := e.control(boot.Order{})
	s, err := c.State()
	e.must(err)
	if s.Permanent != "a" || s.Trial != "" || !s.Slots["a"].Bootable || !s.Slots["b"].Bootable {
		t.Errorf("a new device's state is %+v", s)
	}
	e.must(c.Try("b"))
	if got := e.get("BOOT_ORDER"); got != "B A" {
		t.Errorf("fw_printenv says BOOT_ORDER=%q", got)
	}
	if !bytes.Equal(e.read(e.file)[0x200:0x600], copy) {
		t.Error("the newer copy was touched")
	}
}
