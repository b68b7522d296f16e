package device

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"slipstream/agent/control"
)

const (
	panelTimeout = 10 * time.Second // of the panel's start
	panelPause   = 20 * time.Millisecond
	stageWait    = 30 * time.Second
	maxReply     = 1 << 20
	panelLogTail = 2000
)

// Panel is the panel's process and the way to ask it.
type Panel struct {
	URL  string // of its page
	Link string // where devices call

	bin  string
	args []string
	data string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// StartPanel starts a panel that keeps its data below dir, and waits until it
// answers. listen is a loopback address; "" is any free port. more are further arguments.
func StartPanel(ctx context.Context, bin, dir, listen, trust string, more ...string) (*Panel, error) {
	ports, err := freePorts()
	if err != nil {
		return nil, err
	}
	if listen == "" {
		listen = ports[0]
	}
	p := &Panel{
		URL: "http://" + listen, Link: "https://" + ports[1], bin: filepath.Join(bin, "slipstream-panel"),
		data: filepath.Join(dir, "panel"), log: filepath.Join(dir, "panel.log"),
	}
	p.args = []string{"--listen", listen, "--link", ports[1], "--data", p.data, "--trust", trust}
	p.args = append(p.args, more...)
	return p, p.Start(ctx)
}

// Start starts the panel, again if there was one, and waits until it answers.
func (p *Panel) Start(ctx context.Context) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() // the process has its own
	cmd, done := exec.Command(p.bin, p.args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the demo alone
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the panel: %w", err)
	}
	p.cmd, p.done = cmd, done
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	if err := p.waitReady(ctx); err != nil {
		p.Stop()
		return err
	}
	return nil
}

// Kill ends the panel by SIGKILL.
func (p *Panel) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Freeze stops the panel where it is: it reads nothing, and its connections stand.
func (p *Panel) Freeze() { p.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (p *Panel) Thaw() { p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *Panel) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, panelTimeout)
	defer cancel()
	for {
		// Asked only while our process lives: another panel may have the address.
		if _, err := p.ask(ctx, http.MethodGet, "/healthz", nil); err == nil {
			select {
			case <-p.done:
			default:
				return nil
			}
		}
		select {
		case <-p.done:
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("the panel does not start at %s; --listen names another address\n%s", p.URL, lastBytes(text))
		case <-ctx.Done():
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("the panel does not answer at %s: %w\n%s", p.URL, ctx.Err(), lastBytes(text))
		case <-time.After(panelPause):
		}
	}
}

func lastBytes(text []byte) []byte { return text[max(0, len(text)-panelLogTail):] }

// Stop ends the panel.
func (p *Panel) Stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(panelTimeout):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// Token makes the token by which a device enrols.
func (p *Panel) Token(ctx context.Context, device string) (string, error) {
	out, err := exec.CommandContext(ctx, p.bin, "token", "--data", p.data, device).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make the panel's token for %s: %w: %s", device, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Upload gives a package to the panel and returns the release's name there.
func (p *Panel) Upload(ctx context.Context, file string) (id string, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	reply, err := p.ask(ctx, http.MethodPost, "/api/releases", data)
	if err != nil {
		return "", fmt.Errorf("give %s to the panel: %w", filepath.Base(file), err)
	}
	var release struct {
		ID string `json:"id"`
	}
	return release.ID, json.Unmarshal(reply, &release)
}

// Stage makes the panel stage a release on a device and waits for the outcome.
func (p *Panel) Stage(ctx context.Context, device, release string) control.Result {
	ctx, cancel := context.WithTimeout(ctx, stageWait)
	defer cancel()
	body, err := json.Marshal(map[string]string{"release": release})
	if err != nil {
		panic(err) // two strings always marshal
	}
	reply, err := p.ask(ctx, http.MethodPost, fmt.Sprintf("/api/devices/%s/stage?wait=%s", device, stageWait), body)
	var asked struct {
		Done    bool   `json:"done"`
		Exit    int    `json:"exit"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if err == nil {
		err = json.Unmarshal(reply, &asked)
	}
	if err == nil && !asked.Done {
		err = fmt.Errorf("no outcome within %s", stageWait)
	}
	if err != nil {
		return control.Result{Exit: control.ExitError, Message: "stage through the panel: " + err.Error()}
	}
	return control.Result{Exit: asked.Exit, Code: asked.Code, Message: asked.Message}
}

// WaitOnline waits until the panel sees a device.
func (p *Panel) WaitOnline(ctx context.Context, device string) error {
	ctx, cancel := context.WithTimeout(ctx, panelTimeout)
	defer cancel()
	for {
		var seen struct {
			Online bool `json:"online"`
		}
		reply, err := p.ask(ctx, http.MethodGet, "/api/devices/"+device, nil)
		if err == nil && json.Unmarshal(reply, &seen) == nil && seen.Online {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("device %s does not link to the panel within %s (the panel says: %s): %w", device, panelTimeout, reply, err)
		case <-time.After(panelPause):
		}
	}
}

func (p *Panel) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if json.Valid(body) {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return reply, fmt.Errorf("the panel answers %s: %s", resp.Status, bytes.TrimSpace(reply))
	}
	return reply, nil
}

// LogFile is the panel's log.
func (p *Panel) LogFile() string { return p.log }
