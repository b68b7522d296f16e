package boot_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/slots/boot"
	"slipstream/slots/slotstest"
)

const initialEnv = "bootdelay=0\nbootslot=a\nBOOT_ORDER=A\n"

// envHarness keeps an environment in one file, with other things around it.
func envHarness(format boot.Format, dialect boot.Dialect, script slotstest.Script) slotstest.Harness {
	const size = 128
	offsets := []int64{512, 1024}
	if format == boot.Single {
		offsets = offsets[:1]
	}
	config := func(dir string, disk boot.Disk) boot.EnvConfig {
		c := boot.EnvConfig{Format: format, Size: size, Initial: initialEnv, Disk: disk, Lock: lock(dir)}
		for _, offset := range offsets {
			c.Copies = append(c.Copies, boot.Copy{Path: filepath.Join(dir, "env"), Offset: offset})
		}
		return c
	}
	open := func(t *testing.T, dir string, disk boot.Disk) boot.Control {
		c, err := boot.NewEnv(config(dir, disk), dialect)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	h := slotstest.Harness{
		Make: func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "env"), []byte(strings.Repeat("x", 2048)), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := open(t, dir, nil).Commit("a"); err != nil {
				t.Fatal(err)
			}
		},
		Open: open,
		Loader: func(dir string) slotstest.Loader {
			return slotstest.UBoot{Path: filepath.Join(dir, "env"), Offsets: offsets, Size: size, Format: format, Script: script}
		},
		Damage: func(t *testing.T, dir string, i int) {
			flip(t, filepath.Join(dir, "env"), offsets[i]+9)
		},
		Copies:    len(offsets),
		MaxWrites: 1,
		Cuts:      []slotstest.Fate{slotstest.Kept, slotstest.Tail, slotstest.Lost},
	}
	return h
}

func flip(t *testing.T, name string, at int64) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 1
	if err := os.WriteFile(name, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTrialInTwoCopies(t *testing.T) {
	slotstest.TestControl(t, envHarness(boot.Sequence, boot.Trial{}, slotstest.TrialScript))
}

func TestOrderInRedundantEnvironment(t *testing.T) {
	slotstest.TestControl(t, envHarness(boot.Redundant, boot.Order{}, slotstest.OrderScript))
}

func TestOrderUnderRAUCsScript(t *testing.T) {
	h := envHarness(boot.Redundant, boot.Order{}, slotstest.RAUCScript)
	h.CountsAlways, h.NoFallback = true, true
	slotstest.TestControl(t, h)
}

func TestBootCountInRedundantEnvironment(t *testing.T) {
	slotstest.TestControl(t, envHarness(boot.Redundant, boot.BootCount{}, slotstest.BootCountScript))
}

func TestBootCountInSingleEnvironment(t *testing.T) {
	h := envHarness(boot.Single, boot.BootCount{}, slotstest.BootCountScript)
	h.Fragile = true
	slotstest.TestControl(t, h)
}

func TestEntries(t *testing.T) {
	slotstest.TestControl(t, slotstest.Harness{
		Make: func(t *testing.T, dir string) {
			for _, name := range []string{"cam-1-a.conf", "cam-0-b.off"} {
				text := fmt.Sprintf("title %s\nlinux /%s\n", name, name)
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		},
		Open: func(t *testing.T, dir string, disk boot.Disk) boot.Control {
			c, err := boot.NewEntries(boot.EntriesConfig{Dir: dir, Prefix: "cam", Lock: lock(dir), Disk: disk})
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		Loader: func(dir string) slotstest.Loader { return slotstest.SystemdBoot{Dir: dir, Prefix: "cam"} },
		Damage: func(t *testing.T, dir string, _ int) {
			files, err := filepath.Glob(filepath.Join(dir, "cam-*.conf"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range files {
				if err := os.Rename(name, strings.TrimSuffix(name, ".conf")+".off"); err != nil {
					t.Fatal(err)
				}
			}
		},
		Copies:     1,
		MaxWrites:  1,
		Cuts:       []slotstest.Fate{slotstest.Kept, slotstest.Lost, slotstest.Twice},
		NoFallback: true,
	})
}

// lock is a device's own lock, which no other test waits for.
func lock(dir string) string { return filepath.Join(dir, ".lock") }

// initLoader is the shell script that an init takes over.
type initLoader struct {
	t   *testing.T
	dir string
}

func (l initLoader) Boot(loads func(string) bool) (string, error) {
	start := filepath.Join(l.dir, "start")
	text := "#!/bin/sh\n"
	for _, slot := range []string{"a", "b"} {
		if !loads(slot) {
			text += "[ $1 != " + slot + " ] || exit 0\n"
		}
	}
	text += "echo $1\nkill $PPID\n"
	script := filepath.Join(l.dir, "init.sh")
	for name, text := range map[string]string{start: text, script: boot.InitScript} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			return "", err
		}
	}
	defer os.Remove(start)
	defer os.Remove(script)
	out, err := exec.Command("/bin/sh", script, filepath.Join(l.dir, "state"), start).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && !exit.Exited() {
		err = nil // ended by the start of a system, as it has to be
	}
	return strings.TrimSpace(string(out)), err
}

func TestPlainFile(t *testing.T) {
	slotstest.TestControl(t, slotstest.Harness{
		Make: func(t *testing.T, dir string) {
			if err := boot.NewFile(filepath.Join(dir, "state"), "", nil).Commit("a"); err != nil {
				t.Fatal(err)
			}
		},
		Open: func(t *testing.T, dir string, disk boot.Disk) boot.Control {
			return boot.NewFile(filepath.Join(dir, "state"), lock(dir), disk)
		},
		Loader: func(dir string) slotstest.Loader { return initLoader{t, dir} },
		Damage: func(t *testing.T, dir string, _ int) {
			if err := os.WriteFile(filepath.Join(dir, "state"), []byte("st_good=b\nst_t"), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		Copies:    1,
		MaxWrites: 2,
		Cuts:      []slotstest.Fate{slotstest.Kept, slotstest.Lost},
	})
}
