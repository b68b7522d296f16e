package demo

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

// panel is the panel's process and the way to ask it.
type panel struct {
	url  string
	bin  string
	data string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

func startPanel(ctx context.Context, bin, dir, listen, trust string) (*panel, error) {
	p := &panel{url: "http://" + listen, bin: filepath.Join(bin, "slipstream-panel"),
		data: filepath.Join(dir, "panel"), log: filepath.Join(dir, "panel.log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has its own
	p.cmd = exec.Command(p.bin, "--listen", listen, "--data", p.data, "--trust", trust)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the demo alone
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the panel: %w", err)
	}
	go func() {
		defer close(p.done)
		p.cmd.Wait()
	}()
	if err := p.waitReady(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *panel) waitReady(ctx context.Context) error {
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
			return fmt.Errorf("the panel does not start at %s; --listen names another address\n%s", p.url, lastBytes(text))
		case <-ctx.Done():
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("the panel does not answer at %s: %w\n%s", p.url, ctx.Err(), lastBytes(text))
		case <-time.After(panelPause):
		}
	}
}

func lastBytes(text []byte) []byte { return text[max(0, len(text)-panelLogTail):] }

func (p *panel) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(panelTimeout):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// token enrols a device.
func (p *panel) token(ctx context.Context, device string) (string, error) {
	out, err := exec.CommandContext(ctx, p.bin, "token", "--data", p.data, "--device", device).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make the panel's token for %s: %w: %s", device, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// upload gives a package to the panel and returns the release's name there.
func (p *panel) upload(ctx context.Context, file string) (id string, err error) {
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

// stage makes the panel stage a release on a device and waits for the outcome.
func (p *panel) stage(ctx context.Context, device, release string) control.Result {
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

// waitOnline waits until the panel sees a device.
func (p *panel) waitOnline(ctx context.Context, device string) error {
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
			return fmt.Errorf("device %s does not link to the panel within %s (the panel says: %s %v)", device, panelTimeout, reply, err)
		case <-time.After(panelPause):
		}
	}
}

func (p *panel) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
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
