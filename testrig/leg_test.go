package testrig_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
)

// legRig is a device that is linked to a panel with a relay at an address. start is
// [device.Start], or does it elsewhere.
func legRig(t *testing.T, at, legs string, start func(device.Config) (*device.Device, error), settings ...string) (*rig, *device.Panel) {
	t.Helper()
	r := newRig(t) // for its keys
	link := freeTCP(t, at)
	own := []string{"LIVE_MEDIA=" + freeUDP(t, at), "LIVE_LEGS=" + legs, "LIVE_ADVERTISE=" + at, "DEVICES=" + link, "NAMES=" + at}
	panel, err := device.StartPanel(r.ctx, r.bin, r.dir, "", r.trust, append(own, settings...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(panel.Stop)
	panel.Link = "https://" + link
	token, err := panel.Enrolment(r.ctx, "cam-1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := start(device.Config{Name: "cam-1", Bin: r.bin, Trust: r.trust, PanelURL: panel.Link, PanelToken: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(d.Logs())
			t.Log(string(readFile(t, panel.LogFile())))
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	cam := &rig{Device: d, t: t, ctx: r.ctx, bin: r.bin, dir: r.dir, key: r.key, counter: r.counter}
	cam.mustBecome(cam.build(release("1.0")))
	if err := panel.WaitOnline(r.ctx, "cam-1"); err != nil {
		t.Fatal(err)
	}
	return cam, panel
}

func freeUDP(t *testing.T, ip string) string {
	t.Helper()
	c, err := net.ListenPacket("udp4", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func freeTCP(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp4", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// watchThrough has two people watch through the panel while the device is updated, and
// goes back from another update.
func watchThrough(t *testing.T, cam *rig, panel *device.Panel) {
	t.Helper()
	from := publish.Monotonic()
	var all []*viewer.Viewer
	for range 2 { // by one leg
		v, err := viewer.DialWHEP(cam.ctx, panel.Through("cam-1", "main"), viewer.Bearer(panel.Token), viewer.Repair())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		cam.sees(v, "1.0", from)
		all = append(all, v)
	}
	one := func(s control.Status) bool { return len(s.Streams) == 1 && s.Streams[0].Viewers == 1 }
	if s, err := cam.WaitStatus(cam.ctx, "one viewer at the device", one); err != nil {
		t.Errorf("%v: %+v", err, s.Streams)
	}
	from = publish.Monotonic()
	cam.mustBecome(cam.build(release("2.0")))
	for _, v := range all {
		cam.sees(v, "2.0", from)
	}
	bad := release("3.0")
	bad.Fault, bad.Greenlight.By = camera.Fault{Kind: camera.FaultExit, AfterMS: 600}, "never"
	if r := cam.install(cam.build(bad)); r.Outcome != control.OutcomeReverted {
		t.Errorf("the bad version: %+v", r)
	}
	after := publish.Monotonic()
	for _, v := range all {
		cam.sees(v, "2.0", after)
		clean(t, v, from, publish.Monotonic())
	}
}

// Whoever watches a device through the panel sees an update and a revert as who watches
// at the device does: he does not notice.
func TestWatchedThroughThePanel(t *testing.T) {
	for name, legs := range map[string]string{"udp": "127.0.0.1:0", "link": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cam, panel := legRig(t, "127.0.0.1", legs, func(c device.Config) (*device.Device, error) { return device.Start(t.Context(), c) })
			watchThrough(t, cam, panel)
		})
	}
}

// Who comes to a panel that does not have the device's link watches through the one that has it,
// as if he had come there.
func TestWatchedThroughAnotherPanel(t *testing.T) {
	t.Parallel()
	releases, own := t.TempDir(), t.TempDir()
	cluster := etcdtest.New(t)
	of := func(name string) []string {
		return []string{"PANEL=" + name, "STORE_KIND=etcd", "STORE_ENDPOINTS=" + strings.Join(cluster.Endpoints(), ","), "STORE_RELEASES=" + releases}
	}
	start := func(c device.Config) (*device.Device, error) { return device.Start(t.Context(), c) }
	cam, panel := legRig(t, "127.0.0.1", "127.0.0.1:0", start, of("near")...)
	far, err := panel.Beside(cam.ctx, own, of("far")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Stop)
	if err := far.WaitOnline(cam.ctx, "cam-1"); err != nil {
		t.Fatal(err)
	}
	watchThrough(t, cam, far)
}

// A panel that reads nothing costs nobody at the device a picture, and when it goes on,
// its viewers have whole pictures again.
func TestAPanelThatDoesNotRead(t *testing.T) {
	t.Parallel()
	cam, panel := legRig(t, "127.0.0.1", "", func(c device.Config) (*device.Device, error) { return device.Start(t.Context(), c) })
	local := cam.watch("1.0")
	far, err := viewer.DialWHEP(cam.ctx, panel.Through("cam-1", "main"), viewer.Bearer(panel.Token), viewer.Repair())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Close)
	from := publish.Monotonic()
	cam.sees(far, "1.0", from)
	panel.Freeze()
	t.Cleanup(panel.Thaw)
	frozen := publish.Monotonic()
	for publish.Monotonic() < frozen+stopReading { // for as long as pictures come to the device's own viewer
		cam.sees(local, "1.0", publish.Monotonic())
	}
	panel.Thaw()
	after := publish.Monotonic()
	cam.sees(far, "1.0", after)
	clean(t, local, from, publish.Monotonic())
	rep := far.Report(from, publish.Monotonic())
	if rep.SeqBreaks > 0 || !far.Alive() {
		t.Errorf("the panel's viewer: %+v, %s", rep, far.Ended())
	}
}

// stopReading is longer than a link's buffers last, and the forwarder's patience.
const stopReading = 8 * time.Second

// Addresses of a device behind a NAT, and of a panel that has a public one.
const (
	natDevice, natInside = "10.20.31.2", "10.20.31.1"
	natOutside, natPanel = "198.51.100.1", "198.51.100.2"

	natPlace = "SLIPSTREAM_TEST_NAT_DEVICE" // where the device is; set: this is where the panel is
)

// A device behind a NAT is watched through the panel, over UDP, and where UDP is blocked
// on its link, which the panel finds out by itself.
func TestWatchedThroughNAT(t *testing.T) {
	if place := os.Getenv(natPlace); place != "" {
		watchFromOutside(t, place)
		return
	}
	for _, by := range []string{"udp", "link"} {
		t.Run(by, func(t *testing.T) {
			inside, outside := nat(t, by == "link")
			cmd := exec.Command("ip", "netns", "exec", outside, os.Args[0], "-test.run=^TestWatchedThroughNAT$", "-test.v", "-test.timeout=3m")
			cmd.Env = append(os.Environ(), natPlace+"="+inside)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "by "+by) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func watchFromOutside(t *testing.T, place string) {
	cam, panel := legRig(t, natPanel, natPanel+":0", func(c device.Config) (d *device.Device, err error) {
		within(t, place, func() { d, err = device.Start(context.Background(), c) })
		return d, err
	})
	watchThrough(t, cam, panel)
	log := string(readFile(t, panel.LogFile()))
	for _, by := range []string{"link", "udp"} { // the last resort first
		if strings.Contains(log, `"a stream is asked for" device=cam-1 stream=main by=`+by) {
			t.Log("it came by " + by)
			return
		}
	}
	t.Error("no stream was asked for")
}

// within does something in a network namespace; what it starts stays there.
func within(t *testing.T, place string, do func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends in its place
		fd, err := unix.Open("/run/netns/"+place, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("go to %s: %v", place, err)
	}
}

// places counts the namespaces of this process, which are made by several tests at once.
var places atomic.Int32

// nat makes two places with a NAT between them, which may let no UDP through.
func nat(t *testing.T, blocked bool) (inside, outside string) {
	t.Helper()
	number := places.Add(1)
	name := func(kind string) string { return fmt.Sprintf("slip-leg%s-%d-%d", kind, os.Getpid(), number) }
	inside, outside = name("dev"), name("pub")
	for _, place := range []string{inside, name("nat"), outside} {
		newPlace(t, place)
	}
	block := ""
	if blocked {
		block = "add table ip blocked; add chain ip blocked way { type filter hook forward priority 0; }; add rule ip blocked way meta l4proto udp drop;"
	}
	script := fmt.Sprintf(`set -e
ip link add d0 netns %[1]s type veth peer name in0 netns %[2]s
ip link add p0 netns %[3]s type veth peer name out0 netns %[2]s
ip -n %[1]s addr add %[4]s/24 dev d0
ip -n %[2]s addr add %[5]s/24 dev in0
ip -n %[2]s addr add %[6]s/24 dev out0
ip -n %[3]s addr add %[7]s/24 dev p0
for l in "%[1]s d0" "%[1]s lo" "%[2]s in0" "%[2]s out0" "%[3]s p0" "%[3]s lo"; do set -- $l; ip -n $1 link set $2 up; done
ip -n %[1]s route add default via %[5]s
ip netns exec %[2]s sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
ip netns exec %[2]s nft 'add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }; add rule ip nat out oifname out0 masquerade; %[8]s'
`, inside, name("nat"), outside, natDevice, natInside, natOutside, natPanel, block)
	shell(t, script)
	return inside, outside
}

func newPlace(t *testing.T, name string) {
	t.Helper()
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		if os.Getuid() != 0 && errors.As(err, new(*exec.ExitError)) {
			t.Skipf("only root makes network namespaces here: %s", out)
		}
		t.Fatalf("make a network namespace: %s %v", out, err)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
}

func shell(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
