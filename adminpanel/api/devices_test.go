package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

func ids(list []view.Device) (ids []string) {
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

func TestDevicesArePagedFilteredAndNarrowed(t *testing.T) {
	w := newWorld(t)
	w.enrol("north", "cam-1", "cam-2", "cam-3")
	w.enrol("south", "cam-4", "cam-5")
	var all []string
	for after := ""; ; {
		var page view.Devices
		w.call("GET", "/devices?q=cam&limit=2&after="+after, nil).is(200, &page)
		if page.Total != 5 || page.Rev == 0 {
			t.Fatalf("a page is %+v", page)
		}
		all = append(all, ids(page.Devices)...)
		if after = page.After; after == "" {
			break
		}
	}
	if !slices.Equal(all, []string{"cam-1", "cam-2", "cam-3", "cam-4", "cam-5"}) {
		t.Errorf("the pages hold %v", all)
	}
	var page view.Devices
	w.call("GET", "/devices?q=site:south", nil).is(200, &page)
	if page.Total != 2 || page.After != "" || page.Devices[0].Tags == nil {
		t.Errorf("south is %+v", page)
	}
	south := by(w.token("bob", "viewer site:south"))
	w.call("GET", "/devices?q=-id:cam-5", nil, south).is(200, &page)
	if page.Total != 1 || page.Devices[0].ID != "cam-4" {
		t.Errorf("bob sees %+v", page)
	}
	w.call("GET", "/devices/cam-4", nil, south).is(200, nil)
	w.call("GET", "/devices/cam-1", nil, south).fails(404, "no-device")
	w.call("GET", "/devices/cam-9", nil, south).fails(404, "no-device")
	w.call("GET", "/devices", nil, signedIn(w.person("eve"))).fails(403, "forbidden")
	var at view.At
	w.call("GET", "/at?version=1.4", nil, south).is(200, &at)
	if at.Total != 0 || at.Devices == nil {
		t.Errorf("%+v", at)
	}
}

func TestADeviceInFull(t *testing.T) {
	w := newWorld(t)
	c := w.link("north", "cam-1")
	var d view.DeviceDetail
	g := w.call("GET", "/devices/cam-1", nil).is(200, &d)
	if !d.Online || d.Running != "1.4" || d.Status == nil || d.Status.Permanent != "1.4" || d.StatusAgeMS < 0 || d.Certificate == nil ||
		d.Certificate.Serial != "01" || d.EnrolledAt.IsZero() || g.header.Get("ETag") != strconv.Quote(fmt.Sprint(d.Rev)) {
		t.Errorf("it is %s", g.body)
	}
	denied := map[string]string{}
	for _, a := range d.Actions {
		denied[a.Name] = a.Denied
	}
	if len(denied) != 5 || denied["stage"] != "" || denied["activate"] != "No version is staged." || denied["confirm"] != "No version is on trial." ||
		denied["revert"] != "There is no version to go back to." || denied["cancel"] != "Nothing is being written." {
		t.Errorf("its actions are %v", d.Actions)
	}
	w.call("GET", "/devices/cam-1", nil, by(w.token("bob", "viewer"))).is(200, &d)
	for _, a := range d.Actions {
		if a.Denied != "You may look at this device and not operate it." {
			t.Errorf("a viewer may %+v", a)
		}
	}
	var h view.History
	w.call("GET", "/devices/cam-1/history", nil).is(200, &h)
	if len(h.Records) != 1 || h.Records[0].To != "1.4" {
		t.Errorf("its history is %+v", h)
	}
	c.change(func(s *control.Status) { s.Slots, s.Streams = nil, nil })
	w.eventually("the status without slots", func() bool {
		return !strings.Contains(string(w.call("GET", "/devices/cam-1", nil).body), `"digest":"d1.4"`)
	})
	if g := w.call("GET", "/devices/cam-1", nil); !strings.Contains(string(g.body), `"slots":[]`) || !strings.Contains(string(g.body), `"streams":[]`) {
		t.Errorf("lists are null: %s", g.body)
	}
	c.away()
	w.call("GET", "/devices/cam-1/history", nil).fails(503, "device-offline")
}

func TestADeviceIsDescribed(t *testing.T) {
	w := newWorld(t)
	w.enrol("north", "cam-1")
	var d view.DeviceDetail
	w.call("GET", "/devices/cam-1", nil).is(200, &d)
	now := func() with { return rev(fmt.Sprint(d.Rev)) }
	w.call("PATCH", "/devices/cam-1", view.DevicePatch{}).fails(428, "no-revision")
	w.call("PATCH", "/devices/cam-1", view.DevicePatch{}, rev("99999")).fails(412, "changed")
	w.call("PATCH", "/devices/cam-1", view.DevicePatch{}, header("If-Match", "17")).fails(422, "invalid")
	w.call("PATCH", "/devices/cam-1", view.DevicePatch{}, rev("0")).fails(422, "invalid")
	w.call("PATCH", "/devices/cam-1", `{"zone":"Mars/Olympus"}`, now()).fails(422, "invalid")
	w.call("PATCH", "/devices/cam-1", `{"tags":["a,b"]}`, now()).fails(422, "invalid")

	// An operator describes what is theirs, and does not move it to where others' grants are.
	bob := by(w.token("bob", "operator site:north"))
	w.call("PATCH", "/devices/cam-1", `{"name":"Gate","site":"north","tags":[],"note":"by the river"}`, now(), bob).is(200, &d)
	if d.Name != "Gate" || d.Note != "by the river" || d.Site != "north" {
		t.Errorf("it is %+v", d)
	}
	w.call("PATCH", "/devices/cam-1", `{"site":"south"}`, now(), bob).fails(403, "forbidden")
	w.call("PATCH", "/devices/cam-1", `{"tags":["lab"]}`, now(), bob).fails(403, "forbidden")
	w.call("PATCH", "/devices/cam-1", `{"name":"x"}`, now(), by(w.token("eve", "viewer"))).fails(403, "forbidden")
	w.call("PATCH", "/devices/cam-1", `{"name":"x"}`, now(), by(w.token("dan", "operator site:south"))).fails(404, "no-device")
	w.call("PATCH", "/devices/cam-1", `{"site":"south","tags":["lab","lab"]}`, now()).is(200, &d)
	if d.Site != "south" || !slices.Equal(d.Tags, []string{"lab"}) {
		t.Errorf("it is %+v", d)
	}
	w.call("PATCH", "/devices/cam-1", `{"name":"x"}`, header("If-Match", "*"), bob).fails(404, "no-device")
	patches := 0
	for _, action := range w.lines() {
		if action == "device.patch" {
			patches++
		}
	}
	if patches != 2 {
		t.Errorf("the audit tells of %d changes, not of 2", patches)
	}
}

func TestADeviceIsRevoked(t *testing.T) {
	w := newWorld(t)
	c := w.link("north", "cam-1")
	w.call("DELETE", "/devices/cam-1", nil, header("If-Match", "*"), by(w.token("bob", "releaser"))).fails(403, "forbidden")
	w.call("DELETE", "/devices/cam-1", nil).fails(428, "no-revision")
	if g := w.call("DELETE", "/devices/cam-1", nil, header("If-Match", "*")); g.status != http.StatusNoContent || len(g.body) > 0 {
		t.Fatalf("%d %s", g.status, g.body)
	}
	w.call("GET", "/devices/cam-1", nil).fails(404, "no-device")
	w.eventually("its link ends", func() bool {
		d, _ := w.cfg.Hub.Device("cam-1")
		return !d.Online
	})
	c.hang()
	if !slices.Contains(w.lines(), "device.revoke") {
		t.Error("nobody will know who did it")
	}
}

func TestVersions(t *testing.T) {
	w := newWorld(t)
	w.link("north", "cam-1")
	w.link("north", "cam-2")
	w.link("south", "cam-3")
	w.enrol("south", "cam-4")
	var v view.Versions
	w.call("GET", "/versions", nil).is(200, &v)
	if v.Total != 4 || len(v.Versions) != 2 || v.Versions[0].Version != "1.4" || v.Versions[0].Running != 3 {
		t.Errorf("%+v", v)
	}
	w.call("GET", "/versions?q=site:north", nil).is(200, &v)
	if v.Total != 2 {
		t.Errorf("%+v", v)
	}
	v = view.Versions{}
	w.call("GET", "/versions", nil, by(w.token("bob", "viewer site:south"))).is(200, &v)
	if v.Total != 2 || v.History != nil {
		t.Errorf("bob sees %+v", v)
	}
	var first, again, two view.At
	w.call("GET", "/at?version=1.4", nil).is(200, &first)
	w.call("GET", "/at?version=1.4", nil).is(200, &again)
	w.call("GET", "/at?version=1.4&n=2", nil).is(200, &two)
	if first.Total != 3 || !slices.Equal(first.Devices, again.Devices) || two.Total != 3 || !slices.Equal(two.Devices, first.Devices[:2]) {
		t.Errorf("%+v, %+v, %+v", first, again, two)
	}
	w.call("GET", "/at", nil).fails(422, "invalid")
	var h view.Hub
	w.call("GET", "/hub", nil).is(200, &h)
	if h.Devices != 4 || h.Linked != 3 || h.Panels != 1 {
		t.Errorf("%+v", h)
	}
}
