package device_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/testrig/device"
)

// patience bounds every wait.
const patience = time.Minute

// TestMain lets the test binary play the other processes: the guard, a program
// that works for a device, and a user of a device that dies.
func TestMain(m *testing.M) {
	switch base := filepath.Base(os.Args[0]); {
	case base == "slipstream-rig":
		if err := device.Guard(os.Args[2], os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case base == "slipstream-worker", base == "foreign":
		stay()
	case base == "user":
		dieAsUser()
	default:
		os.Exit(m.Run())
	}
}

// bin is a directory in which the test binary has all the names that it plays.
func bin(t *testing.T) string {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"slipstream-rig", "slipstream-worker", "foreign", "user"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// worker starts a process; it ends with the test if nobody ends it before.
func worker(t *testing.T, bin, name string, env []string, args ...string) int {
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Env = env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	go cmd.Process.Wait() // no zombies: they would look alive
	return cmd.Process.Pid
}

func alive(pid int) bool { return unix.Kill(pid, 0) == nil }

func waitEnd(t *testing.T, pid int) {
	t.Helper()
	limit, poll := time.After(patience), time.Tick(5*time.Millisecond)
	for alive(pid) {
		select {
		case <-poll:
		case <-limit:
			t.Fatalf("process %d still runs", pid)
		}
	}
}

func TestClearEndsOnlyWhatWorksInTheDirectory(t *testing.T) {
	bin := bin(t)
	dir, err := device.NewDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	ours := []int{
		worker(t, bin, "slipstream-worker", nil, "--run", dir.Path+"/run"),
		worker(t, bin, "slipstream-worker", nil, "--run="+dir.Path+"/run"),
		worker(t, bin, "foreign", []string{"SLIPSTREAM_PUBLISH=" + dir.Path + "/run/pub/a-1.sock"}),
		worker(t, bin, "foreign", []string{"NOTIFY_SOCKET=" + dir.Path + "/run/notify/a-1.sock"}),
	}
	others := []int{
		worker(t, bin, "slipstream-worker", nil, "--run", dir.Path+"0/run"), // another device's
		worker(t, bin, "foreign", nil, dir.Path+"/agent.log"),               // somebody who reads a log
		worker(t, bin, "foreign", []string{"PWD=" + dir.Path + "/run"}),
	}
	if err := dir.Clear(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range ours {
		waitEnd(t, pid)
	}
	for i, pid := range others {
		if !alive(pid) {
			t.Errorf("foreign process %d was ended", i)
		}
	}
	if _, err := os.Stat(dir.Path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir.Path, err)
	}
}

// A user that is killed cannot clear up; its guard does.
func TestGuardClearsUpAfterItsUserWasKilled(t *testing.T) {
	bin := bin(t)
	cmd := exec.Command(filepath.Join(bin, "user"), bin)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	path, number, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatal("the worker ended before its user")
	}
	cmd.Process.Kill()
	cmd.Wait()
	waitEnd(t, pid)
	limit, poll := time.After(patience), time.Tick(5*time.Millisecond)
	for {
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return
		}
		select {
		case <-poll:
		case <-limit:
			t.Fatalf("%s is still there", path)
		}
	}
}

// dieAsUser makes a directory and a worker, says which, and waits to be killed.
func dieAsUser() {
	dir, err := device.NewDir(os.Args[1])
	if err != nil {
		panic(err)
	}
	worker := exec.Command(filepath.Join(os.Args[1], "slipstream-worker"), dir.Path+"/x")
	if err := worker.Start(); err != nil {
		panic(err)
	}
	fmt.Println(dir.Path, worker.Process.Pid)
	stay()
}

// stay waits to be killed. Go ends a process in which nothing can ever happen.
func stay() { time.Sleep(time.Hour) }

func TestGuardRefusesDirectoriesThatAreNotADevices(t *testing.T) {
	for _, dir := range []string{"/", "/tmp", "slipstream-1", t.TempDir()} {
		if err := device.Guard(dir, strings.NewReader("")); err == nil {
			t.Errorf("%s would have been removed", dir)
		}
	}
}
