package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/agent/config"
)

// A tree of files stands for a machine's /dev, /sys and /proc.
func TestWhoHasArmedTheWatchdog(t *testing.T) {
	ours := config.System{Watchdog: "/dev/watchdog0", A: "/a", B: "/b"}
	always := ours
	always.WatchdogAlways = true
	for _, test := range []struct {
		name  string
		cfg   config.System
		files map[string]string
		state string
		text  string
	}{
		{"no hardware", config.System{}, nil, Missing, "there is no /dev/watchdog0"},
		{"none of this name", ours, nil, Missing, "there is no /dev/watchdog0: its driver is not there, or system.watchdog is wrong"},
		{"nobody", config.System{}, map[string]string{"/dev/watchdog0": ""}, Degraded, "is armed by nobody, as far as can be seen"},
		{"nobody yet", ours, map[string]string{"/dev/watchdog0": "", "/sys/class/watchdog/watchdog0/identity": "i6300ESB timer\n"}, OK,
			"/dev/watchdog0 (i6300ESB timer) will be armed by the agent for a system's trial and is held by nobody now; whether the boot loader has armed it before cannot be seen; " +
				"whether it watches over a reboot is its driver's decision"},
		{"nobody, although the agent should", always, map[string]string{"/dev/watchdog0": ""}, Degraded, "is to be held by the agent at all times, and is not"},
		{"the agent", ours, map[string]string{"/dev/watchdog0": "", "/proc/77/comm": "slipstream\n", "/proc/77/fd/9": ">/dev/watchdog0",
			"/sys/module/watchdog/parameters/stop_on_reboot": "0\n", "/sys/module/watchdog/parameters/open_timeout": "60\n"}, OK,
			"is armed by the agent: it ends a hang of the kernel, or of the agent's loop; it watches over a reboot, and a new kernel gives its programs 60 s to hold it"},
		{"systemd", config.System{}, map[string]string{"/dev/watchdog0": "", "/proc/1/comm": "systemd\n", "/proc/1/fd/40": ">/dev/watchdog0"}, OK,
			"is armed by systemd (RuntimeWatchdogSec): it ends a hang of the kernel or of systemd; "},
		{"systemd in the agent's place", ours, map[string]string{"/dev/watchdog0": "", "/proc/1/comm": "systemd\n", "/proc/1/fd/40": ">/dev/watchdog"}, Degraded,
			"so that the agent cannot hold it"},
		{"somebody", ours, map[string]string{"/dev/watchdog0": "", "/proc/9/comm": "watchdogd\n", "/proc/9/fd/3": ">/dev/watchdog0"}, Degraded, "is held by watchdogd (process 9)"},
		{"one that is left alone", ours, map[string]string{"/dev/watchdog0": "", "/sys/class/watchdog/watchdog0/state": "active\n"}, Degraded,
			"runs and nobody is seen to feed it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range test.files {
				path = filepath.Join(root, path)
				err := os.MkdirAll(filepath.Dir(path), 0o755)
				if to, link := strings.CutPrefix(text, ">"); err == nil && link {
					err = os.Symlink(to, path)
				} else if err == nil {
					err = os.WriteFile(path, []byte(text), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			f := probe{"watchdog", "start the device anew", false, func() error { return watchdog(root, test.cfg) }}.finding()
			if f.State != test.state || !strings.Contains(f.Text, test.text) {
				t.Errorf("%s: %s\nwant %s: %s", f.State, f.Text, test.state, test.text)
			}
		})
	}
}
