//go:build npm

package adminpanel_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"slipstream/agent/control"
)

// device is a real agent that listens to the real command, which is first in the path of
// the shell that is returned.
func deviceWithShell(t *testing.T) (running, func(line string) (string, error)) {
	t.Helper()
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "real"), "slipstream/agent/cmd/slipstream").CombinedOutput(); err != nil {
		t.Fatalf("build the device's command: %v\n%s", err, out)
	}
	cfg := bareDevice(t, t.TempDir())
	a := must(run(t.Context(), cfg))
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() {
		if err := control.NewServer(a.Agent, slog.New(slog.DiscardHandler)).Serve(ctx, cfg.Socket()); err != nil && ctx.Err() == nil {
			t.Errorf("the device's socket: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		owned.Wait()
		if err := a.end(); err != nil {
			t.Error(err)
		}
	})
	command := fmt.Sprintf("#!/bin/sh\nexec %s/real --socket %s \"$@\"\n", bin, cfg.Socket())
	if err := os.WriteFile(filepath.Join(bin, "slipstream"), []byte(command), 0o755); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	for late := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		if _, err := os.Stat(cfg.Socket()); err == nil {
			break
		}
		if time.Now().After(late) {
			t.Fatal("the agent does not listen")
		}
	}
	return a, func(line string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// From nothing to a camera with a release that can be staged: somebody has a new panel's
// setup token, follows its page with the keyboard, and types the shown line on a device.
func TestTheFirstDevice(t *testing.T) {
	a, shell := deviceWithShell(t)
	w := launch(t, blank(filepath.Join(t.TempDir(), "panel")))
	token := must(w.panel.SetupToken(t.Context()))
	p := openPage(t, browser(t), w.url+"/") // whatever page somebody comes to first
	picture := func(name string) { screenshot(t, p.tab, "first-"+name) }
	p.run(t, chromedp.WaitVisible(`[data-testid="setup-token"]`))
	picture("account")
	p.run(t, chromedp.SendKeys(`[data-testid="setup-token"]`, token+kb.Tab+"ann"+kb.Tab+annPassword+kb.Tab+kb.Enter))
	p.until(t, part("step-admin")+".dataset.done === 'true'")
	p.until(t, part("enrol-make"))
	picture("token")
	p.run(t, chromedp.SendKeys(`[data-testid="enrol-device"]`, "cam-1"))
	p.press(t, "enrol-make")
	p.until(t, part("secret"))
	p.until(t, part("step-enrolment")+".dataset.done === 'true'")
	picture("line")
	line := p.say(t, part("secret")+".innerText")
	if said, err := shell(line); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Replace(line, token, "…", 1), err, said)
	}
	p.until(t, part("step-device")+".dataset.done === 'true'")
	a.linked(t)
	w.login()
	w.online()
	picture("device")
	p.run(t, chromedp.Evaluate("document.querySelector('[data-testid=\"step-release\"] a').click()", nil))
	slip := filepath.Join(t.TempDir(), "sample-camera-1.0.0.slip")
	if err := writeFile(slip, build(t, newKey(t), "1.0.0", 1)); err != nil {
		t.Fatal(err)
	}
	p.run(t, chromedp.WaitReady(`[data-testid="upload"]`), chromedp.SetUploadFiles(`[data-testid="upload"]`, []string{slip}))
	p.until(t, "document.querySelectorAll('.release').length === 1")
	p.run(t, chromedp.Evaluate("document.querySelector('#nav a[href=\"/devices\"]').click()", nil))
	p.until(t, `document.querySelector('[data-id="cam-1"] .c6').innerText === 'now'`)
	p.run(t, chromedp.Navigate(w.url+"/setup"))
	p.until(t, `['admin', 'enrolment', 'device', 'release'].every(s => document.querySelector('[data-testid="step-' + s + '"]').dataset.done === 'true')`)
	picture("done")
	if said := p.complaints.all(); said != "" {
		t.Errorf("the browser complains:\n%s", said)
	}
}
