package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// beMain makes the test binary behave as the command, so that a test can start it
// as the agent does.
const beMain = "SLIPSTREAM_TEST_BE_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), beMain+"=1")
	return cmd
}

func TestServesInheritedSocketUntilTerminated(t *testing.T) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "--publish", "/nowhere", "--stream", "main")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(cmd.Env, "LISTEN_FDS=1", secretVar+"=s")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	ln.Close() // from here on the socket is the ingest's alone

	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, "OPTIONS rtsp://x/s RTSP/1.0\r\nCSeq: 1\r\n\r\n")
	status, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(status, "RTSP/1.0 200") {
		t.Errorf("answer %q, %v", status, err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestRefusesToStart(t *testing.T) {
	for _, c := range []struct {
		args, env []string
		says      string
	}{
		{nil, nil, `LISTEN_FDS is ""`},
		{nil, []string{"LISTEN_FDS=2"}, `LISTEN_FDS is "2"`},
		{[]string{"x"}, []string{"LISTEN_FDS=1"}, `unexpected argument "x"`},
	} {
		cmd := command(t, c.args...)
		cmd.Env = append(cmd.Env, c.env...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.says) {
			t.Errorf("%v %v: %v %s", c.args, c.env, err, out)
		}
	}
}

// A descriptor that is no listening TCP socket must not be served.
func TestRefusesAnotherDescriptor(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := command(t, "--publish", "/nowhere", "--stream", "main")
	cmd.ExtraFiles = []*os.File{null}
	cmd.Env = append(cmd.Env, "LISTEN_FDS=1", secretVar+"=s")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "inherited socket") {
		t.Errorf("%v %s", err, out)
	}
}
