package control_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/agent/control"
)

// refused starts a server that must not begin to serve.
func refused(t *testing.T, socket string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return control.NewServer(newFake(), nil).Serve(ctx, socket)
}

func TestTwoServersOnOneSocket(t *testing.T) {
	f := newFake()
	socket := serve(t, f)
	err := refused(t, socket)
	if !errors.Is(err, control.ErrInUse) {
		t.Errorf("the second server ended with %v", err)
	}
	if s, err := control.Dial(socket).Status(t.Context()); err != nil || s.Device != "cam-7" {
		t.Errorf("the first server does not answer any more: %v, %v", s, err)
	}
}

// A listener that knows nothing of our lock must be left alone too.
func TestForeignListenerIsLeftAlone(t *testing.T) {
	socket := socketIn(t)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := refused(t, socket); !errors.Is(err, control.ErrInUse) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("its socket is gone: %v", err)
	}
}

func TestDeadSocketIsReplaced(t *testing.T) {
	socket := socketIn(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- control.NewServer(newFake(), nil).Serve(ctx, socket) }()
	until(t, func() bool { _, err := control.Dial(socket).Status(t.Context()); return err == nil })
	stop()
	<-done
}

func TestOtherFileIsNotRemoved(t *testing.T) {
	socket := socketIn(t)
	if err := os.WriteFile(socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := refused(t, socket)
	if err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(socket); err != nil || string(text) != "precious" {
		t.Errorf("the file is gone: %q, %v", text, err)
	}
}

// Of many agents started at once over a dead socket exactly one serves.
func TestOneOfManyServes(t *testing.T) {
	socket := socketIn(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	const many = 8
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, many)
	for range many {
		go func() { done <- control.NewServer(newFake(), nil).Serve(ctx, socket) }()
	}
	for range many - 1 {
		select {
		case err := <-done:
			if !errors.Is(err, control.ErrInUse) {
				t.Errorf("got %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("more than one server goes on")
		}
	}
	until(t, func() bool { _, err := control.Dial(socket).Status(t.Context()); return err == nil })
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that served ended with %v", err)
	}
}

func TestSocketIsForOwnerAndGroup(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	info, err := os.Stat(serve(t, newFake()))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != control.SocketMode {
		t.Errorf("mode %o", info.Mode().Perm())
	}
}
