package testrig_test

import (
	"net"
	"testing"

	"slipstream/agent/control"
	"slipstream/stream/publish"
	"slipstream/testrig/camera"
	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
)

// legRig is a device that is linked to a panel with a relay.
func legRig(t *testing.T, legs string) (*rig, *device.Panel) {
	t.Helper()
	r := newRig(t) // for its keys
	media, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	media.Close()
	args := []string{"--media", media.LocalAddr().String(), "--legs", legs, "--advertise", "127.0.0.1"}
	panel, err := device.StartPanel(r.ctx, r.bin, r.dir, "", r.trust, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(panel.Stop)
	token, err := panel.Token(r.ctx, "cam-1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := device.Start(r.ctx, device.Config{Name: "cam-1", Bin: r.bin, Trust: r.trust, PanelURL: panel.Link, PanelToken: token})
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

// Whoever watches a device through the panel sees an update and a revert as who watches
// at the device does: he does not notice.
func TestWatchedThroughThePanel(t *testing.T) {
	for name, legs := range map[string]string{"udp": "127.0.0.1:0", "link": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cam, panel := legRig(t, legs)
			from := publish.Monotonic()
			var all []*viewer.Viewer
			for range 2 { // by one leg
				v, err := viewer.DialWHEP(cam.ctx, panel.URL+"/api/devices/cam-1/whep/main?via=panel", viewer.Repair())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(v.Close)
				cam.sees(v, "1.0", from)
				all = append(all, v)
			}
			s, err := cam.WaitStatus(cam.ctx, "one viewer at the device", func(s control.Status) bool { return len(s.Streams) == 1 && s.Streams[0].Viewers == 1 })
			if err != nil {
				t.Errorf("%v: %+v", err, s.Streams)
			}
			from = publish.Monotonic()
			cam.mustBecome(cam.build(release("2.0")))
			for _, v := range all {
				cam.sees(v, "2.0", from)
			}
			bad := release("3.0")
			bad.Fault = camera.Fault{Kind: camera.FaultExit, AfterMS: 600}
			bad.Greenlight.By = "never"
			reverted := publish.Monotonic()
			cam.install(cam.build(bad))
			after := publish.Monotonic()
			for _, v := range all {
				cam.sees(v, "2.0", max(after, reverted))
				clean(t, v, from, publish.Monotonic())
			}
		})
	}
}
