package adminpanel_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipstream/adminpanel"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/view"
)

// Panels on etcd, each case with keys of its own in one cluster.
func TestPanelsOnEtcd(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.New(t)
	for name, test := range map[string]func(*testing.T, *etcdtest.Cluster){
		"two panels": twoPanelsOnEtcd, "a device that is linked to another panel": linkedToAnotherPanel, "a panel is restored": aPanelIsRestored,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, cluster)
		})
	}
}

// Two panels on one etcd are one to people and to devices: one authority, one set of
// accounts, tokens that are good once, and a device that one of them shuts out has no link to
// the other.
func twoPanelsOnEtcd(t *testing.T, cluster *etcdtest.Cluster) {
	releases := t.TempDir()
	of := func(name string) config.Config {
		cfg := blank(t.TempDir())
		cfg.Store.Prefix = "/two/"
		cfg.Panel, cfg.Store.Kind, cfg.Store.Endpoints, cfg.Store.Releases = name, config.StoreEtcd, cluster.Endpoints(), releases
		return cfg
	}
	one := start(t, of("one"))
	two := launch(t, of("two"))
	twin := make(chan error, 1)
	go func() { twin <- opens(t, of("one")) }() // it waits for a lease to end that does not
	two.ann = one.ann                           // a session of one is good at the other
	var me view.Me
	if two.ask("GET", "/api/v1/me", nil).is(http.StatusOK, &me); me.Name != "ann" {
		t.Errorf("the other panel takes ann for %+v", me)
	}
	if token, err := two.panel.SetupToken(t.Context()); token != "" || err != nil {
		t.Errorf("the other panel makes a first account of its own: %q, %v", token, err)
	}

	// A token of one enrols at the other, which pins that authority; the device calls there.
	made := one.token("cam-1")
	two.enrolBy(made, "cam-1")
	two.until("cam-1", "linked", func(d view.DeviceDetail) bool { return d.Online && d.Status != nil })
	one.until("cam-1", "seen from the other panel", func(d view.DeviceDetail) bool { return d.Online })
	if _, err := simulated(t, "cam-1", one.link, made); err == nil || !strings.Contains(err.Error(), "used already") {
		t.Errorf("the token a second time, at the other panel: %v", err)
	}
	release := one.upload(build(t, newKey(t), "2.0.0", 2))
	var asked view.Asked
	one.ask("POST", "/api/v1/devices/cam-1/stage", view.StageRequest{Release: release.ID}).is(http.StatusAccepted, &asked)
	two.until("cam-1", "staged at the word of the other panel", func(d view.DeviceDetail) bool { return d.State == view.DeviceStaged })
	one.ask("DELETE", "/api/v1/devices/cam-1", nil, "If-Match", "*").is(http.StatusNoContent, nil)
	two.eventually("the link to the other panel is ended", func() bool { return two.links() == 0 })
	if got := two.ask("GET", "/api/v1/devices/cam-1", nil); got.status != http.StatusNotFound {
		t.Errorf("the other panel still shows it: %d", got.status)
	}

	theSameAnswers(t, one, two, release)

	if err := <-twin; !errors.Is(err, adminpanel.ErrNameTaken) || !strings.Contains(err.Error(), `"one" runs on `) || !strings.Contains(err.Error(), "panel = ") {
		t.Errorf("a second panel of the name one: %v", err)
	}
	if code := one.ask("GET", "/healthz", nil).status; code != http.StatusOK {
		t.Errorf("the first one of that name: %d", code)
	}
	one.stop()
	launch(t, of("one")) // the name is free
}

// theSameAnswers asks devices through the panel that they are linked to, and through the other
// one, whichever of the two leads: what a person is told and what the audit says are the same.
func theSameAnswers(t *testing.T, one, two *world, release view.Release) {
	one.device("of-one")
	two.device("of-two")
	two.device("plain")
	next := one.upload(build(t, newKey(t), "2.0.1", 3))
	cases := []struct {
		device         string
		asked, linked  *world
		answers, lines []string
	}{
		{device: "plain", asked: two, linked: two}, {device: "of-one", asked: two, linked: one}, {device: "of-two", asked: one, linked: two},
	}
	var all sync.WaitGroup
	for i := range cases {
		all.Go(func() {
			c := &cases[i]
			c.asked.eventually(c.device+" is seen", func() bool {
				var d view.DeviceDetail
				got := c.asked.ask("GET", "/api/v1/devices/"+c.device, nil)
				return got.status == http.StatusOK && json.Unmarshal(got.body, &d) == nil && d.Online
			})
			for _, step := range []struct {
				verb string
				body any
			}{
				{"confirm", nil},
				{"stage", view.StageRequest{Release: release.ID}}, {"activate", nil}, {"revert", nil},
				{"stage", view.StageRequest{Release: next.ID}}, {"activate", nil}, {"confirm", nil}, {"cancel", nil},
			} {
				got := c.asked.ask("POST", "/api/v1/devices/"+c.device+"/"+step.verb+"?wait=60s", step.body)
				var a view.Asked
				if err := json.Unmarshal(got.body, &a); err != nil || a.Release != "" && a.Release != release.ID && a.Release != next.ID {
					t.Errorf("%s: %s", step.verb, got.body)
				}
				if step.verb != "stage" && a.Version != "" {
					a.Message = "" // the device's answer and its status say it in different words
				}
				c.answers = append(c.answers, fmt.Sprintf("%d %s by %s of %s: %v, %d, %s, %s", got.status, a.Kind, a.By, a.Version, a.Done, a.Exit, a.Code, a.Message))
			}
			for _, w := range []*world{c.asked, c.linked} {
				var log view.Audit
				w.ask("GET", "/api/v1/audit?object="+url.QueryEscape("device "+c.device), nil).is(http.StatusOK, &log)
				for _, line := range log.Lines {
					if line.Action == "device.enrol" {
						continue
					}
					c.lines = append(c.lines, strings.Join([]string{line.Actor, line.From, line.Action, line.Detail}, " "))
				}
			}
		})
	}
	all.Wait()
	for _, c := range cases[1:] {
		if !slices.Equal(c.answers, cases[0].answers) {
			t.Errorf("%s by the other panel:\n%s\nand one by its own:\n%s", c.device, strings.Join(c.answers, "\n"), strings.Join(cases[0].answers, "\n"))
		}
		if !slices.Equal(c.lines, cases[0].lines) {
			t.Errorf("the audit of %s: %q, and of the other %q", c.device, c.lines, cases[0].lines)
		}
	}
	if n := len(cases[0].lines); n != 2*len(cases[0].answers) {
		t.Errorf("the audits have %d lines of %d asks", n, len(cases[0].answers))
	}
	t.Log(strings.Join(cases[0].answers, "\n"))
}
