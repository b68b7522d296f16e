package core

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCalmRuntime(t *testing.T) {
	before, err := os.ReadFile("/proc/self/timerslack_ns")
	if err != nil {
		t.Fatal(err)
	}
	err = CalmRuntime()
	t.Cleanup(func() { // the other tests' timers
		tasks, _ := os.ReadDir("/proc/self/task")
		for _, task := range tasks {
			_ = os.WriteFile("/proc/"+task.Name()+"/timerslack_ns", before, 0)
		}
	})
	if os.Getuid() != 0 {
		return // the calling thread alone, which another test may have by now
	}
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	punctual()
	if slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || slack != 1 {
		t.Errorf("this thread's slack is %d, %v", slack, err)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	calm := 0
	for _, task := range tasks {
		b, _ := os.ReadFile("/proc/" + task.Name() + "/timerslack_ns")
		if strings.TrimSpace(string(b)) == "10000000" {
			calm++
		}
	}
	if calm == 0 {
		t.Error("no thread's timers may be late")
	}
}
