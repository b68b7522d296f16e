package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// Following shows what was there, what comes, what comes after the log was cut, and
// what a run writes that begins meanwhile.
func TestLogsFollow(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "run", "log")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	appendTo(t, filepath.Join(state, "slipstream.toml"),
		"device = \"cam-7\"\nproduct = \"acme-cam\"\nhardware = \"rev-b\"\nrun = \""+filepath.Join(state, "run")+"\"\n")
	log := filepath.Join(dir, "a-1.log")
	appendTo(t, log, "one\ntw")

	in, out := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--config", filepath.Join(state, "slipstream.toml"), "logs", "a", "--follow"}, out, io.Discard)
		out.Close()
	}()
	lines := bufio.NewScanner(in)
	next := func(want string) {
		t.Helper()
		if lines.Scan(); lines.Text() != want {
			t.Fatalf("got %q, want %q", lines.Text(), want)
		}
	}
	next("a-1  one")
	appendTo(t, log, "o\nthree\n")
	next("a-1  two")
	next("a-1  three")
	if err := os.Truncate(log, 0); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "cut\n")
	next("a-1  cut")
	younger := filepath.Join(dir, "a-2.log")
	appendTo(t, younger, "anew\n")
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(younger, later, later); err != nil {
		t.Fatal(err)
	}
	next("a-2  anew")
	stop()
	for lines.Scan() { // until the pipe is closed
	}
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}
