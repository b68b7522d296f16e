package watchdog_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/watchdog"
	"slipstream/agent/watchdog/watchdogtest"
)

func arm(t *testing.T, d *watchdogtest.Device, timeout time.Duration) *watchdog.Dog {
	t.Helper()
	dog, err := watchdog.Arm(func() (watchdog.Node, error) { return d.Open("") }, timeout)
	if err != nil {
		t.Fatal(err)
	}
	return dog
}

func TestOnlyDisarmingStopsIt(t *testing.T) {
	var d watchdogtest.Device
	dog := arm(t, &d, time.Minute)
	if !d.Running() || d.Fed() == 0 || dog.Timeout() != time.Minute || dog.Name() != "fake" || dog.Weakness() != "" {
		t.Errorf("armed: running %v, fed %d, timeout %v, name %q", d.Running(), d.Fed(), dog.Timeout(), dog.Name())
	}
	if err := dog.Leave(); err != nil || !d.Running() || d.Held() {
		t.Errorf("left: running %v, held %v, %v", d.Running(), d.Held(), err)
	}
	dog = arm(t, &d, time.Minute)
	if err := dog.Disarm(); err != nil || d.Running() || d.Held() {
		t.Errorf("disarmed: running %v, held %v, %v", d.Running(), d.Held(), err)
	}
}

func TestNowayout(t *testing.T) {
	d := watchdogtest.Device{NoWayOut: true}
	if err := arm(t, &d, time.Minute).Disarm(); err != nil || !d.Running() || d.Held() {
		t.Errorf("running %v, held %v, %v", d.Running(), d.Held(), err)
	}
}

func TestTimeouts(t *testing.T) {
	for _, test := range []struct {
		name        string
		d           *watchdogtest.Device
		want, least time.Duration
		most        time.Duration
	}{
		{"as asked", &watchdogtest.Device{}, 90 * time.Second, 90 * time.Second, 90 * time.Second},
		{"the hardware counts to 15 s only", &watchdogtest.Device{Longest: 15}, 2 * time.Minute, 13 * time.Second, 15 * time.Second},
		{"the hardware counts to 1 s only", &watchdogtest.Device{Longest: 1}, 2 * time.Minute, time.Second, time.Second},
		{"a timeout that cannot be set", &watchdogtest.Device{Fixed: 26}, 2 * time.Minute, 26 * time.Second, 26 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := arm(t, test.d, test.want).Timeout(); got < test.least || got > test.most {
				t.Errorf("timeout %v, want %v to %v", got, test.least, test.most)
			}
		})
	}
}

func TestWhatCannotBeArmed(t *testing.T) {
	held := watchdogtest.Device{}
	arm(t, &held, time.Minute)
	if _, err := watchdog.Arm(func() (watchdog.Node, error) { return held.Open("") }, time.Minute); !errors.Is(err, watchdog.ErrHeld) {
		t.Errorf("held by another: %v", err)
	}
	absent := watchdogtest.Device{Absent: true}
	if _, err := watchdog.Arm(func() (watchdog.Node, error) { return absent.Open("") }, time.Minute); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	for _, path := range []string{"/dev/null", filepath.Join(t.TempDir(), "none")} { // what is no watchdog
		if _, err := watchdog.Arm(func() (watchdog.Node, error) { return watchdog.Open(path) }, time.Minute); err == nil {
			t.Errorf("%s was armed", path)
		}
		if _, err := os.Stat(path); path != "/dev/null" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made", path)
		}
	}
}

func TestADriverThatStopsAtEveryClose(t *testing.T) {
	d := watchdogtest.Device{AnyClose: true}
	dog := arm(t, &d, time.Minute)
	if dog.Weakness() == "" {
		t.Error("it says nothing of it")
	}
	if err := dog.Leave(); err != nil || d.Running() {
		t.Errorf("running %v, %v", d.Running(), err)
	}
}

// The numbers are those of this machine's kernel headers, by C's own word.
func TestNumbersOfTheKernel(t *testing.T) {
	words := map[string]uint64{
		"WDIOC_GETSUPPORT": unix.WDIOC_GETSUPPORT, "WDIOC_SETTIMEOUT": unix.WDIOC_SETTIMEOUT, "WDIOC_GETTIMEOUT": unix.WDIOC_GETTIMEOUT,
		"WDIOF_MAGICCLOSE": unix.WDIOF_MAGICCLOSE, "WDIOF_SETTIMEOUT": unix.WDIOF_SETTIMEOUT, "sizeof(struct watchdog_info)": 40,
	}
	source := "#include <stdio.h>\n#include <linux/watchdog.h>\nint main(void) {\n"
	for word := range words {
		source += "printf(\"" + word + " %llu\\n\", (unsigned long long)(" + word + "));\n"
	}
	dir := t.TempDir()
	file, program := filepath.Join(dir, "x.c"), filepath.Join(dir, "x")
	if err := os.WriteFile(file, []byte(source+"return 0;\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-o", program, file).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	out, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		i := strings.LastIndexByte(line, ' ')
		n, err := strconv.ParseUint(strings.TrimSpace(line[i+1:]), 10, 64)
		if err != nil || n != words[line[:i]] {
			t.Errorf("%s is %#x here, and %#x in the kernel's headers (%v)", line[:i], words[line[:i]], n, err)
		}
		seen++
	}
	if seen != len(words) {
		t.Errorf("%d of %d numbers were told", seen, len(words))
	}
}
