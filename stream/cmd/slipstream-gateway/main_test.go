package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
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

func TestServesUntilTerminated(t *testing.T) {
	for _, rtsp := range [][]string{{"--rtsp", "127.0.0.1:0"}, {"--rtsp", ""}, nil} {
		t.Run(fmt.Sprint(rtsp), func(t *testing.T) { serveUntilTerminated(t, rtsp) })
	}
}

func serveUntilTerminated(t *testing.T, rtsp []string) {
	args := []string{"--run", t.TempDir(), "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--advertise", "192.0.2.1",
		"--metrics", "127.0.0.1:0", "--origin", "https://a.example", "--max-viewers", "5", "--max-per-address", "5"}
	cmd := command(t, append(args, rtsp...)...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(log)
	line, err := r.ReadString('\n')
	for _, name := range []string{"http", "metrics"} {
		addr := regexp.MustCompile(name + `=(\S+)`).FindStringSubmatch(line)
		if err != nil || addr == nil {
			t.Fatalf("log: %q, %v", line, err)
		}
		res, err := http.Get("http://" + addr[1] + "/healthz")
		if err != nil || res.StatusCode != http.StatusServiceUnavailable { // there is no forwarder
			t.Errorf("health check: %v, %v", res, err)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	io.Copy(io.Discard, r)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// RTSP alone is enough.
func TestServesRTSPAlone(t *testing.T) {
	cmd := command(t, "--run", t.TempDir(), "--rtsp", "127.0.0.1:0", "--public")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(log)
	line, err := r.ReadString('\n')
	addr := regexp.MustCompile(`rtsp=(\S+)`).FindStringSubmatch(line)
	if err != nil || addr == nil || !strings.Contains(line, "http=<nil>") {
		t.Fatalf("log: %q, %v", line, err)
	}
	conn, err := net.Dial("tcp", addr[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
	if status, err := bufio.NewReader(conn).ReadString('\n'); status != "RTSP/1.0 200 OK\r\n" {
		t.Errorf("OPTIONS: %q, %v", status, err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	io.Copy(io.Discard, r)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestRefusesToStart(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--run x --http 127.0.0.1:0 --rtsp 127.0.0.1:0", "--udp is missing"},
		{"--run x --http 127.0.0.1:0 --rtsp 127.0.0.1:0 --udp=", "--udp is missing"},
		{"--run x --udp 127.0.0.1:0", "nothing to serve"},
		{"--run x --rtsps 127.0.0.1:0 --tls-cert x", "--tls-cert and --tls-key are missing"},
		{"--run x --rtsps 127.0.0.1:0 --tls-cert /none --tls-key /none", "rtsps: certificate"},
		{"--run x --rtsp 127.0.0.1:0 --viewers /dev/null", "/dev/null"},
		{"--http 127.0.0.1:0 --udp 127.0.0.1:0", "--run is missing"},
		{"--run x --http 127.0.0.1:0 --rtsp 127.0.0.1:0 --udp 127.0.0.1:0 --advertise camera", `"camera"`},
		{"--run x --http 127.0.0.1:0 --rtsp 127.0.0.1:0 --udp nonsense", "udp"},
		{"--run x --http 192.0.2.1:1 --rtsp 127.0.0.1:0 --udp 127.0.0.1:0", "http"},
	} {
		out, err := command(t, strings.Fields(c.args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v %s", c.args, err, out)
		}
	}
}
