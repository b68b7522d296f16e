package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// quitKey is closed when somebody types q where in is a terminal that is ours to read
// from. Until back was called keys come one by one and are not shown; Ctrl-C stays the
// signal that it is, and Ctrl-Z, which would leave the view on the screen, does nothing.
func quitKey(in io.Reader) (quit <-chan struct{}, back func()) {
	f, ok := in.(*os.File)
	if !ok {
		return nil, func() {}
	}
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, func() {}
	}
	if front, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err != nil || front != unix.Getpgrp() {
		return nil, func() {} // in the background: the keys are somebody else's
	}
	now := *was
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME], now.Cc[unix.VSUSP] = 1, 0, 0
	var end [2]int
	if err := unix.Pipe2(end[:], unix.O_CLOEXEC); err != nil {
		return nil, func() {}
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &now); err != nil {
		unix.Close(end[0])
		unix.Close(end[1])
		return nil, func() {}
	}
	typed, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if readUntilQ(fd, end[0]) {
			close(typed)
		}
	}()
	return typed, func() {
		unix.Close(end[1])
		<-done
		unix.Close(end[0])
		_ = unix.IoctlSetTermios(fd, unix.TCSETSF, was) // nobody is left who could be told
	}
}

// readUntilQ reads keys until one is q, and says so, or until the other end of a pipe
// is closed.
func readUntilQ(fd, end int) bool {
	key := make([]byte, 1)
	for {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(end)}}
		if _, err := unix.Poll(ready, -1); err != nil && err != unix.EINTR {
			return false
		}
		if ready[1].Revents != 0 {
			return false
		}
		if ready[0].Revents == 0 {
			continue
		}
		n, err := unix.Read(fd, key)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return false
		}
		if key[0] == 'q' || key[0] == 'Q' {
			return true
		}
	}
}
