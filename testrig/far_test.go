package testrig_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"slipstream/agent/control"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
)

// Addresses of somebody who watches, beside the panel of a NAT's outside.
const (
	farViewer, farPanel = "203.0.113.2", "203.0.113.1"

	farPlace = "SLIPSTREAM_TEST_FAR_PANEL" // where the panel is; set: this is where somebody watches
)

// People watch devices behind a NAT in Chromium, by the panel's page. It finds by itself that
// there is no way to them, and plays what the panel brings: by UDP, and in a network that drops
// all of that by TURN in TLS. Nobody sees an update or a revert, and a device sends each
// picture once, however many watch.
func TestChromiumWatchesThroughNAT(t *testing.T) {
	if place := os.Getenv(natPlace); place != "" {
		watchFromAfar(t, place, os.Getenv(farPlace))
		return
	}
	for name, blocked := range map[string]bool{"udp": false, "turn": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inside, outside := nat(t, false)
			viewer := beside(t, outside, blocked)
			cmd := exec.Command("ip", "netns", "exec", viewer, os.Args[0], "-test.run=^TestChromiumWatchesThroughNAT$", "-test.v", "-test.timeout=4m")
			cmd.Env = append(os.Environ(), natPlace+"="+inside, farPlace+"="+outside)
			out, err := cmd.CombinedOutput()
			if said := regexp.MustCompile(`TURN has brought ([0-9]+) bytes`).FindSubmatch(out); err != nil || said == nil || blocked == (string(said[1]) == "0") {
				t.Errorf("%v\n%s", err, out)
			} else {
				t.Logf("%s", said[0])
			}
		})
	}
}

// beside makes a place that reaches a NAT's outside, and may have no UDP at all.
func beside(t *testing.T, outside string, blocked bool) (viewer string) {
	t.Helper()
	viewer = outside + "-v"
	newPlace(t, viewer)
	shell(t, fmt.Sprintf(`set -e
ip link add v0 netns %[1]s type veth peer name p1 netns %[2]s
ip -n %[1]s addr add %[3]s/24 dev v0
ip -n %[2]s addr add %[4]s/24 dev p1
for l in "%[1]s v0" "%[1]s lo" "%[2]s p1"; do set -- $l; ip -n $1 link set $2 up; done
ip -n %[1]s route add default via %[4]s
`, viewer, outside, farViewer, farPanel))
	if blocked {
		shell(t, "ip netns exec "+viewer+` nft 'add table inet no; add chain inet no out { type filter hook output priority 0; };
add chain inet no in { type filter hook input priority 0; }; add rule inet no out meta l4proto udp drop; add rule inet no in meta l4proto udp drop'`)
	}
	return viewer
}

func watchFromAfar(t *testing.T, inside, outside string) {
	r := newRig(t) // for its keys
	panel := farPanelOf(r, outside)
	devices := map[string]*device.Device{}
	one := r.build(release("1.0"))
	for _, name := range []string{"cam-1", "control"} {
		token, err := panel.Enrolment(r.ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		var d *device.Device
		within(t, inside, func() {
			d, err = device.Start(context.Background(), device.Config{Name: name, Bin: r.bin, Trust: r.trust, PanelURL: panel.Link, PanelToken: token})
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		devices[name] = d
		(&rig{Device: d, t: t, ctx: r.ctx}).mustBecome(one)
	}
	tab := browser(t, r.ctx, chromedp.Flag("ignore-certificate-errors", true))
	signIn(t, tab, panel)
	plays(t, tab)
	second, done := chromedp.NewContext(tab)
	defer done()
	seen := emulation.SetFocusEmulationEnabled(true) // a tab behind another one plays nothing
	if err := errors.Join(chromedp.Run(tab, seen), chromedp.Run(second, seen, chromedp.EmulateViewport(1280, 1000), chromedp.Navigate(panel.URL+"/wall"))); err != nil {
		t.Fatal(err)
	}
	plays(t, second)
	if err := chromedp.Run(tab, target.ActivateTarget(chromedp.FromContext(tab).Target.TargetID)); err != nil {
		t.Fatal(err)
	}
	cam := &rig{Device: devices["cam-1"], t: t, ctx: r.ctx, bin: r.bin, dir: r.dir, key: r.key, counter: r.counter}
	if _, err := cam.WaitStatus(r.ctx, "one viewer at the device", func(s control.Status) bool {
		return len(s.Streams) == 1 && s.Streams[0].Viewers == 1
	}); err != nil {
		t.Error(err)
	}
	before := connects(t, tab)
	if rec := cam.seen(tab, "update", func() control.Record { return cam.install(cam.build(release("2.0"))) }); rec.Outcome != control.OutcomePermanent {
		t.Errorf("2.0: %+v", rec)
	}
	three := release("3.0")
	three.Greenlight = camera.Greenlight{By: "never"}
	three.Fault = camera.Fault{Kind: camera.FaultSEGV, AfterMS: 2000}
	if rec := cam.seen(tab, "revert", func() control.Record { return cam.install(cam.build(three)) }); rec.Outcome != control.OutcomeReverted {
		t.Errorf("3.0: %+v", rec)
	}
	if after := connects(t, tab); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("connections were %v and are %v", before, after)
	}
	t.Logf("TURN has brought %d bytes", brought(t, panel))
}

// farPanelOf starts a panel with a relay in a place, where people come by TLS.
func farPanelOf(r *rig, place string) (panel *device.Panel) {
	r.t.Helper()
	cert, key := selfSigned(r.t, r.dir, natPanel)
	var err error
	within(r.t, place, func() {
		link := freeTCP(r.t, natPanel)
		panel, err = device.StartPanel(r.ctx, r.bin, r.dir, freeTCP(r.t, natPanel), r.trust, "DEVICES="+link, "NAMES="+natPanel,
			"TLS_MODE=files", "TLS_CERT="+cert, "TLS_KEY="+key, "LIVE_MEDIA="+freeUDP(r.t, natPanel), "LIVE_LEGS="+natPanel+":0",
			"LIVE_ADVERTISE="+natPanel, "LIVE_TURN="+freeTCP(r.t, natPanel))
		if err == nil {
			panel.Link = "https://" + link
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Log(string(readFile(r.t, panel.LogFile())))
		}
		panel.Stop()
	})
	return panel
}

// selfSigned makes a certificate for an address.
func selfSigned(t *testing.T, dir, ip string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "people.crt"), filepath.Join(dir, "people.key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// brought is how many bytes of pictures have gone to browsers by TURN.
func brought(t *testing.T, panel *device.Panel) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, panel.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+panel.Token)
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := trusting.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	figure := regexp.MustCompile(`(?m)^slipstream_panel_turn_bytes_total{direction="out"} (\S+)$`).FindSubmatch(text)
	if figure == nil {
		t.Fatalf("no such figure (%s):\n%s", resp.Status, text)
	}
	n, err := strconv.ParseFloat(string(figure[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
