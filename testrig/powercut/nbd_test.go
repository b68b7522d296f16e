package powercut

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const patience = 5 * time.Minute // at most, on a busy machine

// served is a disk of a MiB that forgets, and its server.
func served(t *testing.T) (d *volatileDisk, file, uri string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "slip-cut-") // a socket's path must be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	file = filepath.Join(dir, "disk")
	must(t, os.WriteFile(file, make([]byte, 1<<20), 0o600))
	d, err = newVolatile(file)
	must(t, err)
	s, err := serve(filepath.Join(dir, "nbd"), d)
	must(t, err)
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return d, file, "nbd+unix:///?socket=" + filepath.Join(dir, "nbd")
}

// qemuIO lets QEMU's client do things; none is flushed but what is asked for.
func qemuIO(ctx context.Context, uri string, commands ...string) (string, error) {
	args := []string{"-f", "raw", "-t", "writeback"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.CommandContext(ctx, "qemu-io", append(args, uri)...).CombinedOutput()
	return string(out), err
}

// QEMU's own client reads what it has written, in its memory and on storage.
func TestDiskForQEMU(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, file, uri := served(t)
	out, err := qemuIO(ctx, uri, "write -P 7 4k 8k", "read -P 7 4k 8k", "write -P 8 8k 512", "read -P 8 8k 512", "read -P 7 8704 3584", "flush",
		"write -z 4k 512", "discard 64k 64k", "write -f -P 9 1048064 512")
	if err != nil || strings.Contains(out, "verification failed") {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(file)
	must(t, err)
	for off, want := range map[int]byte{4<<10 + Sector: 7, 8 << 10: 8, 8<<10 + Sector: 7, 12<<10 - 1: 7, 12 << 10: 0, 1<<20 - 1: 9} {
		if raw[off] != want {
			t.Errorf("byte %d on storage is %d, want %d", off, raw[off], want)
		}
	}
}

// What was not flushed is there or not after the power has failed; what was is.
func TestDiskThatLosesPower(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, file, uri := served(t)
	off := d.failAt(9)
	ended := make(chan error, 1)
	hangs, kill := context.WithCancel(ctx)
	go func() {
		commands := []string{"write -P 1 0 4k", "flush", "write -f -P 2 64k 512"}
		for i := range 7 {
			commands = append(commands, fmt.Sprintf("write -P 3 %dk 64k", 128+64*i))
		}
		_, err := qemuIO(hangs, uri, append(commands, "flush")...)
		ended <- err
	}()
	select {
	case <-off:
	case err := <-ended:
		t.Fatalf("the client has ended (%v), and the power has not failed", err)
	case <-ctx.Done():
		t.Fatal("the power does not fail")
	}
	kill()
	if err := <-ended; err == nil {
		t.Error("the client was answered after the power had failed")
	}
	kept, of, err := d.lose(1, 0)
	must(t, err)
	raw, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(raw[:4096], bytes.Repeat([]byte{1}, 4096)) || raw[64<<10] != 2 {
		t.Error("what was flushed is lost")
	}
	left := bytes.Count(raw, []byte{3}) / Sector
	if left != kept || of != 7*128 || kept == 0 || kept == of {
		t.Errorf("of %d sectors %d are kept, and %d are on storage", of, kept, left)
	}
}
