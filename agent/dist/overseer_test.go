package dist_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/control"
)

// overseen is an agent that is started as systemd does, with what it has said.
type overseen struct {
	*initDevice
	cmd    *exec.Cmd
	ended  chan error
	words  chan string
	client *control.Client
}

func (d *initDevice) program(name string) string { return filepath.Join(d.dir, "programs", name) }

func startOverseen(t *testing.T) *overseen {
	t.Helper()
	d := newInitDevice(t)
	o := &overseen{initDevice: d, ended: make(chan error, 1), words: make(chan string, 1000)}
	socket := filepath.Join(d.dir, "notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	must(t, err)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			for line := range strings.SplitSeq(string(buf[:n]), "\n") {
				o.words <- line
			}
		}
	}()
	o.cmd = exec.Command(d.program("slipstream"), "agent", "--config", filepath.Join(d.dir, "slipstream.toml"))
	o.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=900000")
	log, err := os.OpenFile(filepath.Join(d.dir, "agent.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	o.cmd.Stderr = log
	o.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true} // it has no terminal
	must(t, o.cmd.Start())
	go func() { o.ended <- o.cmd.Wait() }()
	o.client = control.Dial(filepath.Join(d.dir, "run", "agent.sock"))
	t.Cleanup(func() {
		o.client.Close()
		if o.cmd.Process.Signal(unix.SIGTERM) == nil {
			<-o.ended
		}
		conn.Close()
		<-heard
		log.Close()
	})
	return o
}

// hears waits for a word that begins so, and returns the rest of it.
func (o *overseen) hears(begin string) string {
	o.Helper()
	late := time.After(patience)
	for {
		select {
		case word := <-o.words:
			if rest, ok := strings.CutPrefix(word, begin); ok {
				return rest
			}
		case <-late:
			o.Fatalf("not told %s; agent.log:\n%s", begin, read(o.T, filepath.Join(o.dir, "agent.log")))
		}
	}
}

func (o *overseen) version() string {
	ctx, cancel := context.WithTimeout(o.Context(), patience)
	defer cancel()
	s, err := o.client.Status(ctx)
	if err != nil {
		return ""
	}
	return s.Agent
}

func TestTheOverseerIsTold(t *testing.T) {
	t.Parallel()
	o := startOverseen(t)
	o.hears("READY=1")
	if o.version() == "" {
		t.Error("READY=1 was said before the agent answers")
	}
	if status := o.hears("STATUS="); status != "nothing is installed" && !strings.HasPrefix(status, "nothing is installed, ") {
		t.Errorf("STATUS=%s", status)
	}
	for range 3 {
		o.hears("WATCHDOG=1")
	}
	poll(t, "the forwarder", func() bool { return o.forwarder() != 0 })
	if env := read(t, "/proc/"+strconv.Itoa(o.forwarder())+"/environ"); strings.Contains(env, o.dir+"/notify.sock") || strings.Contains(env, "WATCHDOG_USEC") {
		t.Error("the forwarder was given the agent's own overseer")
	}
	must(t, o.cmd.Process.Signal(unix.SIGTERM))
	o.hears("STOPPING=1")
}
