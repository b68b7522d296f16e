package testrig_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"slipstream/testrig/clients"
	"slipstream/testrig/device"
)

// wayPlace is set where the way closes by which somebody watches.
const wayPlace = "SLIPSTREAM_TEST_WAY"

// Whose way to a device closes while he watches it by the panel's page, as when a NAT forgets it,
// keeps his connection: the page asks the device's gateway for another ICE session, through the
// panel, and that finds another way.
func TestChromiumFindsAnotherWay(t *testing.T) {
	if place := os.Getenv(wayPlace); place != "" {
		findsAnotherWay(t)
		return
	}
	place := fmt.Sprintf("slip-way-%d", os.Getpid())
	newPlace(t, place)
	shell(t, fmt.Sprintf(`set -e
ip -n %[1]s link set lo up
ip -n %[1]s link add v0 type veth peer name v1
ip -n %[1]s addr add 203.0.113.2/24 dev v0
ip -n %[1]s link set v0 up
ip -n %[1]s link set v1 up
ip -n %[1]s route add default dev v0`, place))
	cmd := exec.Command("ip", "netns", "exec", place, os.Args[0], "-test.run=^TestChromiumFindsAnotherWay$", "-test.v", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), wayPlace+"="+place)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "went on") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", regexp.MustCompile(`.*went on.*`).Find(out))
}

func findsAnotherWay(t *testing.T) {
	r := newRig(t) // for its keys
	panel, err := device.StartPanel(r.ctx, r.bin, r.dir, "", r.trust)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(panel.Stop)
	token, err := panel.Enrolment(r.ctx, "cam-1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := device.Start(context.Background(), device.Config{Name: "cam-1", Bin: r.bin, Trust: r.trust, PanelURL: panel.Link, PanelToken: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(d.Logs())
		}
		d.Close()
	})
	(&rig{Device: d, t: t, ctx: r.ctx}).mustBecome(r.build(release("1.0")))
	tab := browser(t, r.ctx)
	countDecoded(t, tab)
	signIn(t, tab, panel)
	const player = `slipstream.players.find((p) => p.device === 'cam-1')`
	until(t, tab, player+`?.state === 'playing' && `+player+`.frames > 30`)

	closeWay(t, tab)
	until(t, tab, player+`.state === 'stalled'`)
	var frames int
	if err := chromedp.Run(tab, chromedp.Evaluate(player+".frames", &frames)); err != nil {
		t.Fatal(err)
	}
	until(t, tab, fmt.Sprintf(`%s.state === 'playing' && %[1]s.frames > %d`, player, frames+30))
	var seen struct {
		Connects int
		Worst    float64
	}
	if err := chromedp.Run(tab, chromedp.Evaluate(player, &seen)); err != nil {
		t.Fatal(err)
	}
	if seen.Connects != 1 {
		t.Errorf("%d connections were begun", seen.Connects)
	}
	t.Logf("the picture went on after %.0f ms", seen.Worst)
}

// closeWay drops what comes and goes by the ports at which Chromium waits for pictures.
func closeWay(t *testing.T, tab context.Context) {
	t.Helper()
	var ports []int
	if err := chromedp.Run(tab, chromedp.Evaluate(`peers[0].getStats().then((stats) =>
		[...new Set([...stats.values()].filter((s) => s.type === 'local-candidate' && s.protocol === 'udp').map((s) => s.port))])`, &ports, clients.AwaitPromise)); err != nil {
		t.Fatal(err)
	}
	rules := []string{"table inet way", "chain inet way out { type filter hook output priority 0; }", "chain inet way in { type filter hook input priority 0; }"}
	for _, port := range ports {
		rules = append(rules, fmt.Sprintf("rule inet way out udp sport %d drop", port), fmt.Sprintf("rule inet way in udp dport %d drop", port))
	}
	cmd := exec.Command("nft", "add "+strings.Join(rules, "; add "))
	if out, err := cmd.CombinedOutput(); err != nil || len(ports) == 0 {
		t.Fatalf("close ports %v: %s %v", ports, out, err)
	}
}
