package device

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	toml "github.com/pelletier/go-toml/v2"

	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/agent/supervise"
)

// Product and Hardware of all rig devices.
const (
	Product  = "rig-cam"
	Hardware = "rig"
)

// StallMS is the stall limit of rig devices: development machines are busy.
const StallMS = 250

const (
	startTimeout = 20 * time.Second // of the agent, until it answers
	stopTimeout  = 10 * time.Second
	startPause   = 10 * time.Millisecond
)

// logTail is how much of each log file stands in an error, in bytes.
const logTail = 2000

// Config is what differs from device to device.
type Config struct {
	Name       string
	Bin        string // from [Binaries]
	Trust      string // PEM file of the release keys
	PanelURL   string // where devices call; "" for none
	PanelToken string
	Fetch      config.Fetch // how it downloads
	Kept       bool         // the start program starts the agent, and is started again whenever that ends
}

// Device is one whole device.
type Device struct {
	Dir    string
	Config config.Config
	Client *control.Client

	bin  string
	dir  *Dir
	kept bool

	mu    sync.Mutex // guards agent
	agent *agent
}

// errExitedZero is an agent's end without an error.
var errExitedZero = errors.New("exit status 0")

// agent is one run of the agent process.
type agent struct {
	done chan struct{}
	err  error // valid once done is closed

	mu    sync.Mutex // guards what follows
	cmd   *exec.Cmd
	ended bool // on purpose
}

// Start makes a device, starts its agent and waits until that answers. Nothing
// is installed yet.
func Start(ctx context.Context, cfg Config) (*Device, error) {
	dir, err := NewDir(cfg.Bin)
	if err != nil {
		return nil, err
	}
	d := &Device{Dir: dir.Path, bin: cfg.Bin, dir: dir, kept: cfg.Kept}
	if err := d.configure(cfg); err != nil {
		d.Close()
		return nil, fmt.Errorf("device %s: %w", cfg.Name, err)
	}
	d.Client = control.Dial(d.Config.Socket())
	err = d.StartAgent(ctx)
	if err == nil && cfg.PanelURL != "" {
		err = d.enroll(ctx, cfg.PanelURL, cfg.PanelToken)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("device %s: %w", cfg.Name, err)
	}
	return d, nil
}

func (d *Device) enroll(ctx context.Context, panel, token string) error {
	if r := d.Client.Enroll(ctx, control.EnrollRequest{Panel: panel, Token: token}); r.Exit != control.ExitDone {
		return fmt.Errorf("enrol at the panel: %s", r.Message)
	}
	return nil
}

func (d *Device) configure(cfg Config) error {
	ports, err := freePorts()
	if err != nil {
		return err
	}
	c := config.Default()
	c.Device, c.Product, c.Hardware = cfg.Name, Product, Hardware
	c.State, c.Run = filepath.Join(d.Dir, "state"), filepath.Join(d.Dir, "run")
	c.Trust, c.Bin = cfg.Trust, cfg.Bin
	c.Stream.StallMS, c.Fetch = StallMS, cfg.Fetch
	c.Gateway = config.Gateway{Public: true, HTTP: ports[0], RTSP: ports[1], UDP: ports[2]}
	if err := c.Validate(); err != nil {
		return err
	}
	d.Config = c
	text, err := toml.Marshal(c)
	if err != nil {
		return err
	}
	return errors.Join(os.Mkdir(c.State, 0o755), os.Mkdir(c.Run, 0o755), os.WriteFile(d.configFile(), text, 0o644))
}

func (d *Device) configFile() string { return filepath.Join(d.Dir, "slipstream.toml") }

// freePorts finds two TCP ports and a UDP port on loopback. They are free when
// they are found; a device that loses one to another program does not start.
func freePorts() (addresses [3]string, err error) {
	for i := range 2 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return addresses, err
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
	}
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return addresses, err
	}
	addresses[2] = u.LocalAddr().String()
	return addresses, u.Close()
}

// StartAgent starts the agent, again if there was one, and waits until it answers.
func (d *Device) StartAgent(ctx context.Context) error {
	out, err := os.OpenFile(d.AgentLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() // the process has its own
	a := &agent{cmd: d.agentCommand(out), done: make(chan struct{})}
	if err := a.cmd.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	go func() {
		defer close(a.done)
		a.err = a.cmd.Wait()
		for d.kept && a.again(d) {
			a.err = a.cmd.Wait()
		}
	}()
	d.mu.Lock()
	d.agent = a
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if _, err = d.Client.Status(ctx); err == nil {
			return nil
		}
		select {
		case <-time.After(startPause):
		case <-a.done:
			return fmt.Errorf("the agent ended at once: %w\n%s", cmp.Or(a.err, errExitedZero), d.Logs())
		case <-ctx.Done():
			return fmt.Errorf("the agent does not answer: %w\n%s", err, d.Logs())
		}
	}
}

func (d *Device) agentCommand(out io.Writer) *exec.Cmd {
	program := "slipstream"
	if d.kept {
		program = "slipstream-start"
	}
	cmd := exec.Command(filepath.Join(d.bin, program), "agent", "--config", d.configFile())
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the demo alone
	return cmd
}

// again starts an agent that has ended by itself, as init does.
func (a *agent) again(d *Device) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return false
	}
	out, err := os.OpenFile(d.AgentLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return false
	}
	defer out.Close()
	a.cmd = d.agentCommand(out)
	return a.cmd.Start() == nil
}

// KillAgent ends the agent alone by SIGKILL, as a crash would: apps, forwarder
// and gateway run on.
func (d *Device) KillAgent() error { return d.endAgent(syscall.SIGKILL) }

// StopAgent ends the agent alone by SIGTERM.
func (d *Device) StopAgent() error { return d.endAgent(syscall.SIGTERM) }

func (d *Device) endAgent(sig syscall.Signal) error {
	d.mu.Lock()
	a := d.agent
	d.agent = nil
	d.mu.Unlock()
	if a == nil {
		return nil
	}
	a.mu.Lock()
	a.ended = true
	process := a.cmd.Process
	a.mu.Unlock()
	process.Signal(sig) // an error says that it has ended already
	select {
	case <-a.done:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("the agent (pid %d) does not end on %v", process.Pid, sig)
	}
}

// KillAll ends everything at once by SIGKILL, as a power cut would.
func (d *Device) KillAll() error { return errors.Join(d.KillAgent(), killAll(d.Dir)) }

// Close ends everything and removes the device's directory.
func (d *Device) Close() error {
	err := d.KillAgent()
	if d.Client != nil {
		d.Client.Close()
	}
	err = errors.Join(err, d.dir.Clear())
	// What runs in cgroups is dead, and their agent too: nobody else removes them.
	if groups, none := supervise.NewGroups("", d.Config.Run); none == nil {
		groups.Remove()
	}
	return err
}

// WHEP is where a stream is watched by WebRTC.
func (d *Device) WHEP(stream string) string {
	return "http://" + d.Config.Gateway.HTTP + "/whep/" + stream
}

// RTSP is where a stream is watched by RTSP.
func (d *Device) RTSP(stream string) string {
	return "rtsp://" + d.Config.Gateway.RTSP + "/" + stream
}

// WaitStatus waits until the device is as wanted, at most until ctx ends.
func (d *Device) WaitStatus(ctx context.Context, what string, found func(control.Status) bool) (control.Status, error) {
	s, err := d.Client.Status(ctx)
	for err == nil && !found(s) {
		s, err = d.Client.WaitStatus(ctx, s.Seq)
	}
	if err != nil {
		err = fmt.Errorf("device %s: wait for %s: %w\n%s", d.Config.Device, what, err, d.Logs())
	}
	return s, err
}

// AgentLog is the file that the agent logs to.
func (d *Device) AgentLog() string { return filepath.Join(d.Dir, "agent.log") }

// LogFiles are all logs of the device's processes, the agent's first.
func (d *Device) LogFiles() []string {
	files, _ := filepath.Glob(filepath.Join(d.Config.Run, "log", "*.log"))
	return append([]string{d.AgentLog()}, files...)
}

// Logs is the end of each log, for an error message.
func (d *Device) Logs() string {
	var b strings.Builder
	for _, file := range d.LogFiles() {
		fmt.Fprintf(&b, "--- %s\n%s\n", file, tail(file))
	}
	return b.String()
}

func tail(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return []byte(err.Error())
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return []byte(err.Error())
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-logTail), logTail))
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(text)
}
