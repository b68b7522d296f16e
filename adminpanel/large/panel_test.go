package large_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/adminpanel"
	"slipstream/adminpanel/client"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/simulate/simtest"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// panelVariable holds the directory of a panel's data, in the panel's process.
const panelVariable = "SLIPSTREAM_TEST_PANEL"

// etcdVariable holds the addresses of the etcd that the panel's store is in, if it is in one.
// Packages are beside the panel's data then.
const etcdVariable = "SLIPSTREAM_TEST_ETCD"

var devices = flag.Int("fleet.devices", 200, "devices of the fleet")

// patience bounds every wait of these tests.
func patience() time.Duration { return 2*time.Minute + time.Duration(*devices)*100*time.Millisecond }

func TestMain(m *testing.M) {
	data, ok := os.LookupEnv(panelVariable)
	if !ok {
		simtest.Main(m)
		return
	}
	if err := serve(data); err != nil {
		fmt.Fprintln(os.Stderr, "panel:", err)
		os.Exit(1)
	}
}

// serve is the panel's process. It says its setup token, "" if there is none any more.
func serve(data string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	adminpanel.BeThrifty()
	cfg := config.Default()
	cfg.Data, cfg.Names = data, []string{"127.0.0.1"}
	if where, ok := os.LookupEnv(etcdVariable); ok {
		cfg.Panel, cfg.Store.Kind = filepath.Base(data), config.StoreEtcd
		cfg.Store.Endpoints, cfg.Store.Releases = strings.Split(where, ","), filepath.Join(filepath.Dir(data), "releases")
	}
	at, err := adminpanel.Listen(cfg) // they are given
	if err != nil {
		return err
	}
	p, err := adminpanel.New(ctx, cfg, at, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	token, err := p.SetupToken(ctx)
	if err != nil {
		return err
	}
	fmt.Println("setup " + token)
	err = p.Serve(ctx)
	if closing := p.Close(); err == nil {
		err = closing
	}
	return err
}

// panel is one in a process of its own. Its sockets are the test's, as they would be
// systemd's: whoever calls while it is started anew waits.
type panel struct {
	*client.Client
	t       *testing.T
	data    string
	sockets []*os.File
	url     string
	devices string   // where they call
	env     []string // besides
	cmd     *exec.Cmd
}

const password = "correct horse battery"

// newPanel starts a panel with one account, in whose name the client speaks.
func newPanel(t *testing.T) *panel {
	t.Helper()
	p := place(t, filepath.Join(t.TempDir(), "panel"))
	token := p.start()
	p.setUp(token)
	p.signIn()
	return p
}

// place opens the addresses of a panel that is not started yet.
func place(t *testing.T, data string, env ...string) *panel {
	t.Helper()
	p := &panel{t: t, data: data, env: env}
	for _, at := range []*string{&p.url, &p.devices} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		*at = l.Addr().String()
		l.Close() // f is a copy
		t.Cleanup(func() { f.Close() })
		p.sockets = append(p.sockets, f)
	}
	p.url, p.devices = "http://"+p.url, "https://"+p.devices
	t.Cleanup(func() { p.kill() })
	return p
}

// start begins the panel's process, and waits until it is ready.
func (p *panel) start() (setup string) {
	p.t.Helper()
	p.cmd = exec.CommandContext(context.Background(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	p.cmd.Env = append(append(os.Environ(), panelVariable+"="+p.data, "LISTEN_FDS=2", "LISTEN_FDNAMES=people:devices"), p.env...)
	p.cmd.ExtraFiles = p.sockets
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	setup, ok := strings.CutPrefix(strings.TrimSpace(line), "setup")
	if err != nil || !ok {
		p.t.Fatalf("the panel said %q: %v", line, err)
	}
	p.until("the panel is ready", func() bool {
		resp, err := http.Get(p.url + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return strings.TrimSpace(setup)
}

// kill ends the panel's process where it stands.
func (p *panel) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// stop ends the panel's process in good order.
func (p *panel) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("the panel ended: %v", err)
	}
	p.cmd = nil
}

func (p *panel) setUp(token string) {
	p.t.Helper()
	body, err := json.Marshal(view.SetupRequest{Token: token, Name: "ann", Password: password})
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.Post(p.url+"/api/v1/setup", "application/json", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode > 299 {
		p.t.Fatalf("set up: %s %s", resp.Status, text)
	}
}

func (p *panel) signIn() {
	p.t.Helper()
	c, err := client.New(client.Config{URL: p.url})
	if err == nil {
		p.Client, err = c.SignIn(p.t.Context(), "ann", password)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// until asks again until it is so. It is for what nothing tells of.
func (p *panel) until(what string, so func() bool) {
	p.t.Helper()
	for late := time.Now().Add(patience()); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			p.t.Fatal("never: " + what)
		}
	}
}

// tokens are as many as a fleet needs, for devices of two sites.
func (p *panel) tokens(n int) (list []wire.Token) {
	p.t.Helper()
	const most = 256
	for i := range (n + most - 1) / most {
		e, err := p.AddEnrolment(p.t.Context(), view.EnrolmentRequest{Uses: most, Site: []string{"north", "south"}[i%2], Until: time.Now().Add(time.Hour)})
		if err != nil {
			p.t.Fatal(err)
		}
		token, err := wire.ParseToken(e.Text)
		if err != nil {
			p.t.Fatal(err)
		}
		list = append(list, token)
	}
	return list
}

// linked waits until so many devices are linked, and have said what they are.
func (p *panel) linked(n int) {
	p.t.Helper()
	p.until(fmt.Sprint(n, " devices are linked"), func() bool {
		page, err := p.DevicePage(p.t.Context(), "online:yes version:*.*", "", 1)
		return err == nil && page.Total == n
	})
}

// release uploads a package of a version.
func (p *panel) release(version string) view.Release {
	p.t.Helper()
	dir := p.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "camera"), []byte("#!/bin/sh\n# "+version+"\n"), 0o755); err != nil { //nolint:gosec // it is a program
		p.t.Fatal(err)
	}
	key, err := pack.GenerateKey()
	if err != nil {
		p.t.Fatal(err)
	}
	var slip bytes.Buffer
	_, err = pack.Build(p.t.Context(), &slip, pack.Options{Dir: dir, Key: key, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: version, ReleaseCounter: 2, SecurityEpoch: 1, IssuedAt: time.Now().UTC().Truncate(time.Second),
		App: &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := p.AddRelease(p.t.Context(), client.Package{Name: version + ".slip", Size: int64(slip.Len()), Reader: bytes.NewReader(slip.Bytes())}, client.Transfer{})
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// verb does something with a rollout as it is now.
func (p *panel) verb(id, verb string) view.Rollout {
	p.t.Helper()
	var v view.Rollout
	p.until(verb+" is taken", func() bool {
		at, err := p.Rollout(p.t.Context(), id)
		if err == nil {
			v, err = p.Verb(p.t.Context(), id, verb, view.RolloutVerb{}, at.Rev)
		}
		if err != nil && !client.IsCode(err, "changed") && !client.IsCode(err, "not-leading") {
			p.t.Fatalf("%s: %v", verb, err)
		}
		return err == nil
	})
	return v
}

// rolled waits until a rollout is as wanted.
func (p *panel) rolled(id, what string, wanted func(view.Rollout) bool) (v view.Rollout) {
	p.t.Helper()
	for late := time.Now().Add(patience()); ; time.Sleep(20 * time.Millisecond) {
		var err error
		if v, err = p.Rollout(p.t.Context(), id); err == nil && wanted(v) {
			return v
		}
		if time.Now().After(late) {
			p.t.Fatalf("never: the rollout is %s; it is %s: %s, %+v (%v)", what, v.State, v.Why, v.Total, err)
		}
	}
}
