package testrig_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The README's own commands, typed as they stand, on ports of their own and in
// a directory of their own.
func TestReadmeByHand(t *testing.T) {
	t.Parallel()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(readFile(t, "../README.md")), "## Try it by hand")
	_, text, found2 := strings.Cut(text, "```sh\n")
	script, _, found3 := strings.Cut(text, "```")
	if !found || !found2 || !found3 {
		t.Fatal("README has no block of commands under \"Try it by hand\"")
	}
	dir, err := os.MkdirTemp("", "slipreadme") // unix socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	build, script, _ := strings.Cut(script, "\n")
	if !strings.HasPrefix(build, "make build ") {
		t.Errorf("the first command is %q", build)
	}
	script = strings.ReplaceAll(script, "/tmp/cam", dir)
	for _, port := range []string{"8889", "8554", "8189"} {
		script = strings.ReplaceAll(script, "127.0.0.1:"+port, freeAddress(t))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", script+"\nwait $agent || true\n")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second // an agent that a failed script leaves has its output open
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		if cmd.Process != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // an agent that is left takes all of its own along
		}
		log, _ := os.ReadFile(filepath.Join(dir, "agent.log"))
		t.Fatalf("%v\n%s\n--- agent.log\n%s", err, out, log)
	}
	for _, want := range []string{"1.0.0 is permanent", "1.1.0 is permanent"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	gone(t, dir)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// gone checks that nothing of a directory's device still runs.
func gone(t *testing.T, dir string) {
	t.Helper()
	var left string
	for until := time.Now().Add(patience); time.Now().Before(until); <-time.After(50 * time.Millisecond) {
		left = ""
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			if line, err := os.ReadFile(f); err == nil && strings.Contains(string(line), dir) {
				left += strings.ReplaceAll(string(line), "\x00", " ") + "\n"
			}
		}
		if left == "" {
			return
		}
	}
	t.Errorf("still running:\n%s", left)
}
