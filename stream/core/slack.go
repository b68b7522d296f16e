package core

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// runtimeSlack is how late the timers of the Go runtime's own threads may be.
const runtimeSlack = 10_000_000 // ns

// CalmRuntime lets the threads that the process has so far, and those that they
// will make, be late with their timers. The core thread sleeps in a system call, and
// each time it does the runtime's monitor looks every 20 µs for a processor to take
// away, which costs more than twice as much CPU as forwarding one stream to one
// viewer does. Nothing here waits for that monitor: the core thread is woken by
// descriptors, and the runtime has a second processor for everything else.
//
// It is to be called at the start of the process. Without CAP_SYS_NICE it changes the
// calling thread alone, and says so by an error that may be ignored.
func CalmRuntime() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		slack := filepath.Join("/proc", task.Name(), "timerslack_ns")
		err = errors.Join(err, os.WriteFile(slack, strconv.AppendInt(nil, runtimeSlack, 10), 0))
	}
	return err
}

// punctual makes the calling thread's own timers exact again. A FIFO thread's are.
func punctual() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }
