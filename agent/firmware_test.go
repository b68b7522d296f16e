package agent_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/agent/config"
	"slipstream/slots/boot"
	"slipstream/slots/slotstest"
)

// firmware is a boot loader that keeps its state in a directory.
type firmware struct {
	kind string // as the configuration has it
	// lay makes its storage.
	lay func(dir string) error
	// path is what the configuration names. Lists of where an environment lies go
	// into a second directory, for they are a part of the system.
	path func(dir, conf string) (string, error)
	// open uses the agent's own lock, so that nothing is seen of a change before all of
	// it is on the disk.
	open func(dir string) (boot.Control, error)
	// boot is one start, up to the system that is started. What the boot loader has
	// written is on storage then: it has no cache.
	boot func(t *testing.T, dir string) (slot string, err error)
}

// firmwares are one of each kind that the configuration knows.
func firmwares() []firmware {
	return []firmware{
		plainFile,
		inEnvironment(config.BootOrder, boot.Redundant, boot.Order{}, slotstest.OrderScript),
		inEnvironment(config.BootCount, boot.Redundant, boot.BootCount{}, slotstest.BootCountScript),
		inEnvironment(config.BootTrial, boot.Sequence, boot.Trial{}, slotstest.TrialScript),
		inEntries,
	}
}

// plainFile is read by the script that comes with package boot, in a real shell.
var plainFile = firmware{
	kind: config.BootFile,
	lay:  func(string) error { return nil },
	path: func(dir, _ string) (string, error) { return filepath.Join(dir, "state"), nil },
	open: func(dir string) (boot.Control, error) {
		return boot.NewFile(filepath.Join(dir, "state"), filepath.Join(dir, "state.lock"), nil), nil
	},
	boot: func(t *testing.T, dir string) (string, error) {
		own := t.TempDir()
		start, script := filepath.Join(own, "start.sh"), filepath.Join(own, "init.sh")
		err := errors.Join(
			os.WriteFile(script, []byte(boot.InitScript), 0o755),
			os.WriteFile(start, []byte("#!/bin/sh\necho $1\nkill $PPID\n"), 0o755),
		)
		if err != nil {
			return "", err
		}
		out, _ := exec.Command("/bin/sh", script, filepath.Join(dir, "state"), start).Output() // ended by the start
		return strings.TrimSpace(string(out)), nil
	},
}

// inEnvironment is a U-Boot with two copies of its environment.
func inEnvironment(kind string, format boot.Format, dialect boot.Dialect, script slotstest.Script) firmware {
	const size = 1024 // two sectors, which may be torn apart
	offsets := []int64{size, 3 * size}
	open := func(dir string) (boot.Control, error) {
		c := boot.EnvConfig{Format: format, Size: size, Initial: "bootdelay=0\n"}
		for _, offset := range offsets {
			c.Copies = append(c.Copies, boot.Copy{Path: filepath.Join(dir, "env"), Offset: offset})
		}
		return boot.NewEnv(c, dialect)
	}
	return firmware{
		kind: kind,
		lay: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "env"), []byte(strings.Repeat("x", 5*size)), 0o644)
		},
		path: func(dir, conf string) (string, error) {
			var lines string
			for _, offset := range offsets {
				lines += fmt.Sprintf("%s/env 0x%x 0x%x\n", dir, offset, size)
			}
			path := filepath.Join(conf, "fw_env.config")
			return path, os.WriteFile(path, []byte(lines), 0o644)
		},
		open: open,
		boot: func(_ *testing.T, dir string) (string, error) {
			env := filepath.Join(dir, "env")
			slot, err := slotstest.UBoot{Path: env, Offsets: offsets, Size: size, Format: format, Script: script}.Boot(always)
			return slot, errors.Join(err, flush(env))
		},
	}
}

// inEntries is systemd-boot.
var inEntries = firmware{
	kind: config.BootEntries,
	lay: func(dir string) error {
		for _, name := range []string{"slipstream-1-a.conf", "slipstream-0-b.off"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("title "+name+"\n"), 0o644); err != nil {
				return err
			}
		}
		return nil
	},
	path: func(dir, _ string) (string, error) { return dir, nil },
	open: func(dir string) (boot.Control, error) { return boot.NewEntries(boot.EntriesConfig{Dir: dir}) },
	boot: func(_ *testing.T, dir string) (string, error) {
		slot, err := slotstest.SystemdBoot{Dir: dir, Prefix: "slipstream"}.Boot(always)
		return slot, errors.Join(err, flush(dir))
	},
}

// always loads whatever was chosen.
func always(string) bool { return true }

// flush brings a file or a directory to the disk.
func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
