package inotify_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/inotify"
)

func TestWatch(t *testing.T) {
	w, err := inotify.New()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := w.Add(filepath.Join(dir, "nothing"), unix.IN_CREATE); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("watching what is not there: %v", err)
	}
	if err := w.Add(dir, unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing happened: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(0); err != nil {
		t.Errorf("a file was made: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- w.Wait(0) }()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err == nil {
		t.Error("a closed watch heard of something")
	}
	if err := w.Add(dir, unix.IN_CREATE); err == nil {
		t.Error("a closed watch takes more")
	}
}
