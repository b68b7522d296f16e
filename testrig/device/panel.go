package device

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

const (
	panelTimeout = 60 * time.Second // of the panel's start
	panelPause   = 20 * time.Millisecond
	stageWait    = 30 * time.Second
	maxReply     = 1 << 20
	panelLogTail = 2000
)

// Panel is the panel's process and the way to ask it, as somebody who may do everything there.
type Panel struct {
	*client.Client

	URL      string // of its page
	Link     string // where devices call
	Name     string // by which to sign in at the page
	Password string
	Token    string // of the API

	bin      string
	trust    string
	settings []string // of the environment
	ca       string   // file of its certificate, if people come by TLS
	http     *http.Client
	log      string
	cmd      *exec.Cmd
	done     chan struct{}
}

// StartPanel starts a panel that keeps its data below dir, waits until it answers, and makes
// its first account. listen is a loopback address; "" is any free port. settings are as in its
// environment: KEY=value. With TLS_CERT among them people come by TLS, and it may listen
// anywhere.
func StartPanel(ctx context.Context, bin, dir, listen, trust string, settings ...string) (*Panel, error) {
	p, err := startPanel(ctx, bin, dir, listen, trust, settings)
	if err != nil {
		return nil, err
	}
	if err := p.setUp(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Beside starts another panel on the same store, which settings name, below a directory of its
// own; the release keys that it trusts are this one's. People have the accounts and tokens there that they have at this one.
func (p *Panel) Beside(ctx context.Context, dir string, settings ...string) (*Panel, error) {
	other, err := startPanel(ctx, filepath.Dir(p.bin), dir, "", p.trust, settings)
	if err != nil {
		return nil, err
	}
	other.Name, other.Password, other.Token = p.Name, p.Password, p.Token
	if other.Client, err = client.New(client.Config{URL: other.URL, Token: p.Token, CA: other.ca}); err != nil {
		other.Stop()
		return nil, err
	}
	return other, nil
}

func startPanel(ctx context.Context, bin, dir, listen, trust string, settings []string) (*Panel, error) {
	ports, err := freePorts()
	if err != nil {
		return nil, err
	}
	if listen == "" {
		listen = ports[0]
	}
	p := &Panel{
		URL: "http://" + listen, Link: "https://" + ports[1], Name: "rig", Password: rand.Text(),
		bin: filepath.Join(bin, "slipstream-panel"), trust: trust, log: filepath.Join(dir, "panel.log"),
	}
	if err := p.secure(settings); err != nil {
		return nil, err
	}
	own := []string{"LISTEN=" + listen, "DEVICES=" + ports[1], "NAMES=127.0.0.1", "DATA=" + filepath.Join(dir, "panel"), "TRUST=" + trust}
	for _, setting := range append(own, settings...) {
		p.settings = append(p.settings, "SLIPSTREAM_PANEL_"+setting)
	}
	return p, p.Start(ctx)
}

// secure has the panel be called by TLS if that is among its settings.
func (p *Panel) secure(settings []string) error {
	p.http = http.DefaultClient
	for _, setting := range settings {
		file, ok := strings.CutPrefix(setting, "TLS_CERT=")
		if !ok {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		p.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		p.ca, p.URL = file, strings.Replace(p.URL, "http:", "https:", 1)
	}
	return nil
}

// setUp makes the first account, by what the panel has printed, and a token for it.
func (p *Panel) setUp(ctx context.Context) error {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(text), "/setup?token=")
	first, _, _ := strings.Cut(after, "\n")
	body, err := json.Marshal(view.SetupRequest{Token: strings.TrimSpace(first), Name: p.Name, Password: p.Password})
	if err != nil {
		return err
	}
	if err := p.post(ctx, "/api/v1/setup", body); err != nil {
		return fmt.Errorf("make the panel's first account: %w", err)
	}
	c, err := client.New(client.Config{URL: p.URL, CA: p.ca})
	if err != nil {
		return err
	}
	if c, err = c.SignIn(ctx, p.Name, p.Password); err != nil {
		return fmt.Errorf("sign in at the panel: %w", err)
	}
	token, err := c.AddToken(ctx, view.TokenRequest{Name: "rig", Grants: []view.Grant{{Role: view.RoleAdmin}}, Until: time.Now().Add(24 * time.Hour)})
	if err != nil {
		return fmt.Errorf("make a token of the panel's API: %w", err)
	}
	p.Token = token.Text
	p.Client, err = client.New(client.Config{URL: p.URL, Token: p.Token, CA: p.ca})
	return err
}

func (p *Panel) post(ctx context.Context, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
		return errors.Join(fmt.Errorf("the panel answers %s: %s", resp.Status, bytes.TrimSpace(reply)), err)
	}
	return nil
}

// Start starts the panel, again if there was one, and waits until it answers.
func (p *Panel) Start(ctx context.Context) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close() // the process has its own
	cmd, done := exec.Command(p.bin, "serve"), make(chan struct{})
	cmd.Env = append(os.Environ(), p.settings...)
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
		if p.isReady(ctx) {
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

// isReady says whether the panel has opened its data and knows its devices.
func (p *Panel) isReady(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
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

// Enrolment makes the token by which a device enrols.
func (p *Panel) Enrolment(ctx context.Context, device string) (string, error) {
	made, err := p.AddEnrolment(ctx, view.EnrolmentRequest{Device: device, Uses: 1, Until: time.Now().Add(time.Hour)})
	if err != nil {
		return "", fmt.Errorf("make the panel's token for %s: %w", device, err)
	}
	return made.Text, nil
}

// Upload gives a package to the panel and returns the release's name there.
func (p *Panel) Upload(ctx context.Context, file string) (id string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	release, err := p.AddRelease(ctx, client.Package{Name: filepath.Base(file), Size: info.Size(), Reader: f}, client.Transfer{})
	if err != nil {
		return "", fmt.Errorf("give %s to the panel: %w", filepath.Base(file), err)
	}
	return release.ID, nil
}

// Stage makes the panel stage a release on a device and waits for the outcome.
func (p *Panel) Stage(ctx context.Context, device, release string) control.Result {
	ctx, cancel := context.WithTimeout(ctx, stageWait)
	defer cancel()
	asked, err := p.Ask(ctx, device, client.Wish{Verb: client.Stage, Release: release, Wait: stageWait})
	if err == nil && !asked.Done {
		asked, err = p.Follow(ctx, device, asked.ID, nil)
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
		seen, err := p.Device(ctx, device)
		if err == nil && seen.Online {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("device %s does not link to the panel within %s: %w", device, panelTimeout, err)
		case <-time.After(panelPause):
		}
	}
}

// Through is where a device's stream is watched through the panel; the viewer needs
// [Panel.Token].
func (p *Panel) Through(device, stream string) string {
	return p.URL + "/api/v1/devices/" + device + "/whep/" + stream + "?via=panel"
}

// LogFile is the panel's log.
func (p *Panel) LogFile() string { return p.log }
