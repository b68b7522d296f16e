package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"slipstream/agent/config"
	"slipstream/agent/watchdog"
	"slipstream/slots/boot"
	"slipstream/stream/publish"
)

// Host is the machine below the agent, as far as it can be started anew.
type Host struct {
	BootID  func() (string, error)
	Running func() (string, error) // system slot, by the kernel's command line
	Uptime  func() time.Duration   // since the kernel's start
	Restart func(context.Context) error

	Watchdog func(path string) (watchdog.Node, error) // opens one

	Start    string // start program behind this agent; "" without
	Programs string // directory of this agent's own program
}

const (
	bootIDFile  = "/proc/sys/kernel/random/boot_id"
	cmdlineFile = "/proc/cmdline"
	slotWord    = "slipstream.slot="

	restartLimit = 30 * time.Second // for the program that asks for a reboot
)

// thisHost is the machine that this process runs on.
func thisHost(cfg config.System) Host {
	return Host{
		Start: os.Getenv(startEnv), Programs: ownProgram(),
		BootID: func() (string, error) {
			raw, err := os.ReadFile(bootIDFile)
			return strings.TrimSpace(string(raw)), err
		},
		Running: func() (string, error) {
			raw, err := os.ReadFile(cmdlineFile)
			if err != nil {
				return "", err
			}
			return runningSlot(string(raw))
		},
		Uptime:   publish.Monotonic,
		Watchdog: watchdog.Open,
		Restart: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, restartLimit)
			defer cancel()
			out, err := exec.CommandContext(ctx, cfg.Reboot[0], cfg.Reboot[1:]...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s: %w: %s", cfg.Reboot[0], err, out)
			}
			return nil
		},
	}
}

// runningSlot reads the kernel's command line.
func runningSlot(cmdline string) (string, error) {
	for word := range strings.FieldsSeq(cmdline) {
		if slot, ok := strings.CutPrefix(word, slotWord); ok && (slot == slotNames[0] || slot == slotNames[1]) {
			return slot, nil
		}
	}
	return "", errors.New("the kernel's command line has neither slipstream.slot=a nor slipstream.slot=b: the boot loader has to set it")
}

// openBoot opens the boot loader's state.
func openBoot(cfg config.Boot) (boot.Control, error) {
	switch cfg.Kind {
	case config.BootEntries:
		return boot.NewEntries(boot.EntriesConfig{Dir: cfg.Path})
	case config.BootFile:
		return boot.NewFile(cfg.Path, cfg.Path+".lock", nil), nil
	}
	env, err := boot.ReadFWEnvConfig(cfg.Path)
	if err != nil {
		return nil, err
	}
	switch cfg.Kind {
	case config.BootOrder:
		return boot.NewEnv(env, boot.Order{})
	case config.BootCount:
		return boot.NewEnv(env, boot.BootCount{})
	}
	if len(env.Copies) == 2 {
		env.Format = boot.Sequence
	}
	return boot.NewEnv(env, boot.Trial{})
}
