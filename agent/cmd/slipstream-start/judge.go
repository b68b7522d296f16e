package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/slots"
)

const (
	judgeWord = "judge"
	judgeArgs = 5                      // with the program's name
	judgeLate = 3 * time.Second        // the agent itself ends its trial at the deadline
	judgeLook = 200 * time.Millisecond // how often it is looked whether the trial is over
)

var errLate = errors.New("the agent on trial did not end its trial in time, and is ended")

// judge ends an agent that is still on trial after its deadline. It is nobody's child, so
// that the agent need not know of it: the first one of two has started the second.
func judge(self string, args []string) {
	pid, err := strconv.Atoi(args[1])
	deadline, err2 := strconv.ParseInt(args[2], 10, 64)
	if err != nil || err2 != nil {
		os.Exit(1)
	}
	if os.Getppid() == pid {
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		if cmd.Start() != nil {
			os.Exit(1)
		}
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for slots.TryUnderWay(args[0]) {
		if n, _ := unix.Poll(ended, int(judgeLook.Milliseconds())); n > 0 {
			return
		}
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err == nil && now.Nano() > deadline+int64(judgeLate) {
			say(errLate)
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it ended at this moment
			return
		}
	}
}
