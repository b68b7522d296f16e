package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"slipstream/adminpanel"
	"slipstream/adminpanel/client"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
	"slipstream/verify"
	"slipstream/verify/pack"
	"slipstream/verify/trusttest"
)

// patience bounds every wait of these tests.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"slipstream-panel": main})
}

// TestScripts runs the commands as people and scripts do, against a whole panel and devices
// that are simulated. Commands of the scripts beside testscript's own:
//
//	exits N CMD …               run CMD, which must exit with N
//	until PATTERN CMD …         run CMD until what it prints matches: what devices answer is known
//	                            before their next status has changed what lists show
//	panel [fleet]               serve a panel on $DATA, which may sign for a fleet; ann is its
//	                            administrator, and has the password in the file "password" and
//	                            a token in the environment
//	stoppanel                   end it
//	devices SITE N [FATE|operator]   have N devices join at SITE and wait until they are there
//	package FILE VERSION        make a package
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	root, key := fleetFiles(t)
	panel := func(ts *testscript.TestScript, _ bool, args []string) {
		servePanel(ts, func(cfg *config.Config) {
			if len(args) > 0 {
				cfg.Fleet, cfg.Orders = root, []string{key}
			}
		})
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for _, key := range []string{envPanel, envToken, envCA, envFile} {
				env.Setenv(key, "")
			}
			env.Setenv("TZ", "UTC")
			env.Setenv("EXAMPLES", examples)
			env.Setenv("DATA", filepath.Join(env.WorkDir, "data"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("USER", "ann")
			return os.WriteFile(filepath.Join(env.WorkDir, "password"), []byte("correct horse battery\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": printed, "panel": panel, "stoppanel": stopPanel, "devices": join, "package": makePackage,
		},
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func printed(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for late := time.Now().Add(patience); ; <-time.After(20 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(late) {
			ts.Fatalf("it never printed %s", want)
		}
	}
}

// served is a panel of a script.
type served struct {
	client *client.Client
	link   string // where devices call
	stop   func()
	joined int
}

// running are the panels by their data.
var running sync.Map

func panelOf(ts *testscript.TestScript) *served {
	p, ok := running.Load(ts.Getenv("DATA"))
	if !ok {
		ts.Fatalf("no panel runs")
	}
	return p.(*served)
}

func stopPanel(ts *testscript.TestScript, _ bool, _ []string) { panelOf(ts).stop() }

// servePanel makes ann with the commands themselves when there is no panel's data yet.
func servePanel(ts *testscript.TestScript, change func(*config.Config)) {
	data := ts.Getenv("DATA")
	if _, err := os.Stat(data); os.IsNotExist(err) {
		ts.Check(command1(ts, "user", "add", "ann", "--grant", "admin", "--data", data))
		ts.Check(command1(ts, "token", "add", "scripts", "--user", "ann", "--grant", "admin", "--data", data, "--out", ts.MkAbs("token")))
	}
	cfg := config.Default()
	cfg.Data, cfg.Listen, cfg.Devices, cfg.Names = data, "127.0.0.1:0", "127.0.0.1:0", []string{"127.0.0.1"}
	change(&cfg)
	at, err := adminpanel.Listen(cfg)
	ts.Check(err)
	p, err := adminpanel.New(context.Background(), cfg, at, slog.New(slog.DiscardHandler))
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(p.Serve(ctx), p.Close()) }()
	token := strings.TrimSpace(ts.ReadFile("token"))
	c, err := client.New(client.Config{URL: p.URL(), Token: token})
	ts.Check(err)
	s := &served{client: c, link: "https://" + at.Devices.Addr().String()}
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		c.Close()
	})
	ts.Defer(s.stop)
	running.Store(data, s)
	ts.Setenv(envPanel, p.URL())
	ts.Setenv(envToken, token)
}

// command1 runs a command in this process, with ann's password as its input.
func command1(ts *testscript.TestScript, args ...string) error {
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(ts.ReadFile("password")))
	cmd.SetOut(ts.Stdout())
	cmd.SetErr(ts.Stderr())
	return cmd.ExecuteContext(context.Background())
}

func join(ts *testscript.TestScript, _ bool, args []string) {
	s, site := panelOf(ts), args[0]
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	made, err := s.client.AddEnrolment(ctx, view.EnrolmentRequest{Uses: n, Site: site, Until: time.Now().Add(time.Hour)})
	ts.Check(err)
	token, err := wire.ParseToken(made.Text)
	ts.Check(err)
	cfg := simulate.Config{Panel: s.link, Tokens: []wire.Token{token}, Devices: n, Prefix: site, Seed: 1, Log: slog.New(slog.DiscardHandler),
		Times: simulate.Times{Stage: time.Millisecond, Start: time.Millisecond, Soak: time.Millisecond}}
	if len(args) > 2 && args[2] == "operator" {
		cfg.Device.Marker = "operator"
	} else if len(args) > 2 {
		cfg.Shares.Fates = map[simulate.Fate]float64{simulate.Fate(args[2]): 1}
	}
	fleet, err := simulate.NewFleet(cfg)
	ts.Check(err)
	lives, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(lives) }()
	ts.Defer(func() { end(); <-ended })
	s.joined += n
	for {
		there := 0
		for d, err := range s.client.Devices(ctx, "online:yes") {
			ts.Check(err)
			if d.Running != "" { // it has sent its status
				there++
			}
		}
		if there == s.joined {
			return
		}
		select {
		case err := <-ended:
			ts.Fatalf("the devices ended: %v", err)
		case <-ctx.Done():
			ts.Fatalf("%d of %d devices are there", there, s.joined)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// fleetFiles are a fleet's root and the key of its orders.
func fleetFiles(t *testing.T) (root, key string) {
	t.Helper()
	dir, keys := t.TempDir(), trusttest.Keys(t, 2)
	root, key = filepath.Join(dir, "fleet.1.root.json"), filepath.Join(dir, "order.key")
	signed := trusttest.Root{
		Version: 1, Expires: time.Now().AddDate(3, 0, 0), Terms: verify.Terms{Kind: verify.KindFleet, Offline: verify.OfflineOrder},
		Root: trusttest.Role{Keys: keys[:1]}, Targets: trusttest.Role{Keys: keys[1:]},
	}.Sign(t)
	pem, err := pack.PrivatePEM(keys[1])
	if err = errors.Join(err, os.WriteFile(root, signed, 0o600), os.WriteFile(key, pem, 0o600)); err != nil {
		t.Fatal(err)
	}
	return root, key
}

// key signs the packages of all scripts.
var key = sync.OnceValues(pack.GenerateKey)

func makePackage(ts *testscript.TestScript, _ bool, args []string) {
	signer, err := key()
	ts.Check(err)
	dir := ts.MkAbs("app-" + args[1])
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(os.WriteFile(filepath.Join(dir, "camera"), []byte("#!/bin/sh\n# "+args[1]+"\n"), 0o755)) //nolint:gosec // it is a program
	var out bytes.Buffer
	_, err = pack.Build(context.Background(), &out, pack.Options{Dir: dir, Key: signer, Manifest: verify.Manifest{
		Format: 1, Product: "sample-camera", Hardware: []string{"rig"}, Version: args[1], ReleaseCounter: 2, SecurityEpoch: 1,
		IssuedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		App:      &verify.App{Exec: []string{"camera"}, Streams: []verify.Stream{{Name: "main", Codec: "h264", Width: 320, Height: 180}}},
	}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out.Bytes(), 0o600))
}
