package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"slipstream/agent/config"
)

// kennel is where a machine shows its watchdogs.
type kennel struct {
	root string // "/", but in tests
	path string // of the watchdog that is meant
	cfg  config.System
}

func watchdog(root string, cfg config.System) error {
	k := kennel{root: root, path: cfg.Watchdog, cfg: cfg}
	if k.path == "" {
		k.path = "/dev/watchdog0"
	}
	if _, err := os.Stat(k.at(k.path)); err != nil {
		if cfg.Watchdog != "" {
			return fmt.Errorf("there is no %s: its driver is not there, or system.watchdog is wrong", k.path)
		}
		return errors.New("there is no /dev/watchdog0, and a kernel that hangs stays so until somebody switches the device off")
	}
	return k.judge()
}

func (k kennel) at(path string) string { return filepath.Join(k.root, path) }

// judge says who has armed it, and what follows from that.
func (k kennel) judge() error {
	pid, who := k.holder()
	name := k.name()
	switch {
	case pid == "1" && k.cfg.Watchdog != "":
		return degradedf("%s is armed by %s (RuntimeWatchdogSec), so that the agent cannot hold it: it ends a hang of the kernel, and none of the agent "+
			"during a system's trial; set RuntimeWatchdogSec=off, or leave system.watchdog out", name, who)
	case pid == "1":
		return noticef("%s is armed by %s (RuntimeWatchdogSec): it ends a hang of the kernel or of %s; %s", name, who, who, k.reboots())
	case who == "slipstream":
		return noticef("%s is armed by the agent: it ends a hang of the kernel, or of the agent's loop; %s", name, k.reboots())
	case pid != "":
		return degradedf("%s is held by %s (process %s), and guards what that feeds it for", name, who, pid)
	case k.read("state") == "active":
		return degradedf("%s runs and nobody is seen to feed it: the device will be started anew, unless it is held by a process that this user may not look at", name)
	case k.cfg.Watchdog != "" && !k.cfg.WatchdogAlways:
		return noticef("%s will be armed by the agent for a system's trial and is held by nobody now; "+
			"whether the boot loader has armed it before cannot be seen; %s", name, k.reboots())
	case k.cfg.Watchdog != "":
		return degradedf("%s is to be held by the agent at all times, and is not: its log says why, if it runs", name)
	}
	return degradedf("%s is armed by nobody, as far as can be seen (the boot loader may have done so): a kernel that hangs stays so; "+
		"set system.watchdog in the configuration", name)
}

// name is what the driver calls itself, with the path.
func (k kennel) name() string {
	if identity := k.read("identity"); identity != "" {
		return fmt.Sprintf("%s (%s)", k.path, identity)
	}
	return k.path
}

// reboots says what is known of the way from one kernel to the next.
func (k kennel) reboots() string {
	parameter := func(name string) string {
		raw, err := os.ReadFile(k.at("/sys/module/watchdog/parameters/" + name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(raw))
	}
	over := "whether it watches over a reboot is its driver's decision (watchdog.stop_on_reboot=0 on the kernel's command line makes it)"
	switch parameter("stop_on_reboot") {
	case "0":
		over = "it watches over a reboot"
	case "1":
		over = "it does not watch over a reboot (watchdog.stop_on_reboot=1 is set)"
	}
	if open := parameter("open_timeout"); open != "" && open != "0" {
		return over + ", and a new kernel gives its programs " + open + " s to hold it"
	}
	return over + ", and a new kernel that hangs before its first program holds it is waited for without end (watchdog.open_timeout=SECONDS bounds that)"
}

// read reads an attribute of its driver; "": the kernel shows none.
func (k kennel) read(attribute string) string {
	raw, err := os.ReadFile(k.at(filepath.Join("/sys/class/watchdog", filepath.Base(k.path), attribute)))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// holder is the process that has it open, as far as this user may look; "": nobody.
func (k kennel) holder() (pid, who string) {
	links, err := filepath.Glob(k.at("/proc/[0-9]*/fd/*"))
	if err != nil {
		return "", ""
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil || to != k.path && (to != "/dev/watchdog" || filepath.Base(k.path) != "watchdog0") { // its older name
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		comm, err := os.ReadFile(filepath.Join(process, "comm"))
		if err != nil {
			continue
		}
		return filepath.Base(process), strings.TrimSpace(string(comm))
	}
	return "", ""
}
