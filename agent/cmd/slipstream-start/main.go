package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/config"
	"slipstream/slots"
)

const (
	maxStarts = 5                // of a permanent version that has never proven itself since
	readLimit = 20 * time.Second // for reading a version
	bootID    = "/proc/sys/kernel/random/boot_id"
)

func main() {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	if len(os.Args) == judgeArgs && os.Args[1] == judgeWord {
		judge(self, os.Args[2:])
		return
	}
	builtIn := filepath.Dir(self)
	if err := os.Setenv("SLIPSTREAM_START", self); err != nil {
		say(err)
	}
	cfg, err := config.Load(configFile(os.Args[1:]))
	if err != nil { // the agent says more
		say(err)
		become(builtIn)
		os.Exit(1)
	}
	place := slots.RuntimePlace{Record: cfg.State, Slots: filepath.Join(cfg.State, "runtime"), BuiltIn: builtIn}
	try(self, place, cfg.Run)
	for _, dir := range []string{permanent(place, cfg.Run), builtIn} {
		become(dir)
	}
	os.Exit(1)
}

// try runs the version that is on trial, if there is one that was not run yet.
func try(self string, place slots.RuntimePlace, run string) {
	boot, err := os.ReadFile(bootID)
	if err != nil {
		say(err)
	}
	t, err := slots.TakeTry(run, strings.TrimSpace(string(boot)))
	if err == nil {
		var found slots.FoundRuntime
		ctx, cancel := context.WithTimeout(context.Background(), readLimit)
		defer cancel()
		if found, err = place.Tried(ctx, t); err == nil {
			err = exec.Command(self, judgeWord, run, strconv.Itoa(os.Getpid()), strconv.FormatInt(t.Deadline, 10)).Run()
		}
		if err == nil {
			become(found.Dir)
		}
	}
	if err != nil && !errors.Is(err, slots.ErrNoTry) {
		say(err)
	}
	if err := slots.EndTry(run); err != nil { // and its judge goes
		say(err)
	}
}

// permanent is where the permanent version is, if that runs.
func permanent(place slots.RuntimePlace, run string) (dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	found := place.Runtime(ctx)
	if found.Version == "" {
		if !errors.Is(found.Reason, slots.ErrNoRuntime) && !errors.Is(found.Reason, slots.ErrNoRecord) {
			say(found.Reason)
		}
		return found.Dir
	}
	n, err := slots.CountStart(run)
	if err != nil {
		say(err)
	}
	if n > maxStarts {
		say(fmt.Errorf("version %s was started %d times and never came up: the built-in programs run", found.Version, n-1))
		return place.BuiltIn
	}
	return found.Dir
}

// become returns only if it failed.
func become(dir string) {
	path := filepath.Join(dir, "slipstream")
	err := unix.Exec(path, append([]string{path}, os.Args[1:]...), os.Environ())
	say(fmt.Errorf("start %s: %w", path, err))
}

func configFile(args []string) string {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--config="); ok {
			return value
		}
		if arg == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return config.File
}

func say(err error) { fmt.Fprintln(os.Stderr, "slipstream-start:", err) }
