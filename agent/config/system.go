package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kinds of boot loaders, as package boot knows them.
const (
	BootOrder   = "order"     // U-Boot: BOOT_ORDER and BOOT_x_LEFT
	BootCount   = "bootcount" // U-Boot: bootcount and upgrade_available
	BootTrial   = "trial"     // U-Boot with the script that comes with package boot
	BootEntries = "entries"   // systemd-boot
	BootFile    = "file"      // a text file
)

var bootKinds = []string{BootOrder, BootCount, BootTrial, BootEntries, BootFile}

// System says where the system slots are. Without them only apps are updated. Which
// one runs stands in the kernel's command line: slipstream.slot=a, or b.
type System struct {
	A      string   `toml:"a"` // block devices
	B      string   `toml:"b"`
	Boot   Boot     `toml:"boot"`
	Reboot []string `toml:"reboot"` // the program that starts the device anew, and its arguments

	Watchdog       string `toml:"watchdog"`        // device node of the hardware watchdog; "": none
	WatchdogS      int64  `toml:"watchdog_s"`      // seconds within which it must be fed
	WatchdogAlways bool   `toml:"watchdog_always"` // held also while no system is on trial
}

// Boot says how the boot loader is told.
type Boot struct {
	Kind string `toml:"kind"`
	Path string `toml:"path"` // fw_env.config for U-Boot, loader/entries for systemd-boot, or the file
}

// Is says whether there are system slots.
func (s System) Is() bool { return s.A != "" || s.B != "" }

// Bounds of watchdog_s: below it a busy machine would be started anew, beyond it nothing
// would be gained.
const minWatchdogS, maxWatchdogS = 4, 3600

func (s System) validate() error {
	if !s.Is() {
		if s.Boot != (Boot{}) {
			return errors.New("system.boot is set, but system.a and system.b are not")
		}
		return s.validateWatchdog()
	}
	problems := []error{s.validateWatchdog(), absolute("system.a", s.A), absolute("system.b", s.B), absolute("system.boot.path", s.Boot.Path)}
	if s.A == s.B {
		problems = append(problems, fmt.Errorf("system.a and system.b are both %q", s.A))
	}
	if !slices.Contains(bootKinds, s.Boot.Kind) {
		problems = append(problems, fmt.Errorf("system.boot.kind = %q is none of %s", s.Boot.Kind, strings.Join(bootKinds, ", ")))
	}
	if len(s.Reboot) == 0 || s.Reboot[0] == "" {
		problems = append(problems, errors.New("system.reboot names no program"))
	}
	return errors.Join(problems...)
}

func (s System) validateWatchdog() error {
	switch {
	case s.WatchdogAlways && s.Watchdog == "":
		return errors.New("system.watchdog_always is set, but system.watchdog is not")
	case s.Watchdog == "":
		return nil
	case !s.Is() && !s.WatchdogAlways:
		return errors.New("system.watchdog guards the trial of a system, and there are no system slots: set system.watchdog_always = true, or leave it out")
	case s.WatchdogS < minWatchdogS || s.WatchdogS > maxWatchdogS:
		return fmt.Errorf("system.watchdog_s = %d is not between %d and %d", s.WatchdogS, minWatchdogS, maxWatchdogS)
	}
	return absolute("system.watchdog", s.Watchdog)
}
