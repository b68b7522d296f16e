package agent_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/verify/trust"
)

// halting serves a package, and after some of its image nothing more.
type halting struct {
	cutting
	once sync.Once
	held chan struct{} // closed when somebody waits
}

func (h *halting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var off, end int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &off, &end); err != nil || end-off < 1<<20 {
		h.cutting.ServeHTTP(w, r) // no image
		return
	}
	h.cutting.ServeHTTP(&gated{w, h, r, 0}, r)
}

type gated struct {
	http.ResponseWriter
	h     *halting
	r     *http.Request
	given int
}

func (g *gated) Write(p []byte) (int, error) {
	if g.given += len(p); g.given > 1<<20 {
		http.NewResponseController(g.ResponseWriter).Flush()
		g.h.once.Do(func() { close(g.h.held) })
		<-g.r.Context().Done()
		return 0, g.r.Context().Err()
	}
	return g.ResponseWriter.Write(p)
}

// halt serves a package that stops coming after some of its image.
func (d *device) halt(path string) (h *halting, url string) {
	d.Helper()
	content, err := os.ReadFile(path)
	d.must(err)
	h = &halting{cutting: cutting{content: content, given: make([]uint8, len(content))}, held: make(chan struct{})}
	s := httptest.NewServer(h)
	d.Cleanup(s.Close)
	return h, s.URL + "/x.slip"
}

// installedIn is what the trust state knows of a slot.
func (d *device) installedIn(slot string) (trust.Installed, bool) {
	d.Helper()
	d.stop()
	defer d.boot()
	s, err := trust.Open(filepath.Join(d.cfg.State, agent.TrustDir), trust.Factory{})
	d.must(err)
	return s.Installed(slot)
}

// A staging that somebody cancels, here or by leaving, is none that failed: what came
// is kept, the next one goes on from there, and clearing the slot gives the space back.
func TestCancelAndClear(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	if r := d.agent.Cancel(t.Context()); r.Exit != control.ExitNothing {
		t.Errorf("nothing to cancel: %+v", r)
	}
	path := d.pack("2.0.0", goodApp+"\n# "+noise(4<<20), nil)
	for _, way := range []string{"by an operator", "by leaving"} {
		h, url := d.halt(path)
		ctx, leave := context.WithCancel(t.Context())
		staged := make(chan control.Result, 1)
		go func() { staged <- d.agent.Stage(ctx, control.StageRequest{URL: url}) }()
		select {
		case <-h.held:
		case r := <-staged:
			t.Fatalf("%s: the stage has ended: %+v", way, r)
		}
		d.wait("some of the image", func(s control.Status) bool { return s.Staging != nil && s.Staging.Done > 0 })
		if way == "by leaving" {
			leave()
		} else if r := d.agent.Cancel(t.Context()); r.Exit != control.ExitDone || !strings.Contains(r.Message, "slipstream clear b") {
			t.Errorf("cancel: %+v", r)
		}
		r := <-staged
		leave()
		if r.Exit != control.ExitError || way == "by an operator" && r.Code != agent.CodeCancelled {
			t.Errorf("%s: %+v", way, r)
		}
		d.wait("rest", inPhase("idle"))
		if r := d.last(); r.Outcome != control.OutcomeCancelled || r.To != "2.0.0" {
			t.Errorf("%s: history %+v", way, r)
		}
	}
	if _, known := d.installedIn("b"); known {
		t.Error("the trust state knows of a version that was not staged")
	}
	if r := d.stage(path); r.Exit != control.ExitDone || r.Staged.Kept == 0 {
		t.Errorf("what was written is not used: %+v", r)
	}
	if was, known := d.installedIn("b"); !known || was.Digest == "" {
		t.Errorf("the trust state does not know of what was staged: %+v", was)
	}
	clearB := control.ClearRequest{Slot: "b"}
	if r := d.agent.Clear(t.Context(), clearB); r.Exit != control.ExitDone || !strings.Contains(r.Message, "version 2.0.0") {
		t.Errorf("clear: %+v", r)
	}
	if r := d.agent.Clear(t.Context(), clearB); r.Exit != control.ExitNothing {
		t.Errorf("clear once more: %+v", r)
	}
	if r := d.agent.Clear(t.Context(), control.ClearRequest{Slot: "a"}); r.Exit != control.ExitRefused || r.Code != agent.CodeKept {
		t.Errorf("clear the permanent slot: %+v", r)
	}
	if files, err := os.ReadDir(filepath.Join(d.cfg.State, "slots", "b")); err != nil || len(files) != 0 {
		t.Errorf("left in the slot: %v, %v", files, err)
	}
	if r := d.agent.Activate(t.Context(), control.ActivateRequest{}); r.Exit != control.ExitNothing {
		t.Errorf("activate: %+v", r)
	}
	if was, known := d.installedIn("b"); known {
		t.Errorf("the trust state still knows of %+v", was)
	}
	if s := d.wait("the permanent version", func(s control.Status) bool { return slot(s, "a").App == "ready" }); slot(s, "b").State != control.StateEmpty {
		t.Errorf("slot b: %+v", slot(s, "b"))
	}
}

// A slot says what the disk holds, and what it has cost.
func TestSlotsAreShown(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	path := d.pack("2.0.0", goodApp, nil)
	if r := d.stage(path); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	d.restart()
	d.wait("state of the device", func(s control.Status) bool { return slot(s, "a").App == "ready" })
	s, err := d.agent.Status(t.Context())
	d.must(err)
	got := slot(s, "b").Stored
	if got == nil || got.State != slots.StateStaged || got.Version != "2.0.0" || got.Kind != slots.KindTree || got.By != "file "+filepath.Base(path) ||
		got.StagedAt.IsZero() || got.VerifiedAt.Before(got.StagedAt) || got.Cost == nil || got.Cost.Written < got.Size || got.Size == 0 {
		t.Errorf("slot b: %+v", got)
	}
}

// What belongs to a version goes with it.
func TestClearingTheVersionBefore(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	d.mustInstall("2.0.0")
	d.wait("end of the old app", func(s control.Status) bool { return slot(s, "a").App == "stopped" })
	if r := d.agent.Clear(t.Context(), control.ClearRequest{Slot: "a"}); r.Exit != control.ExitDone {
		t.Fatalf("clear: %+v", r)
	}
	for _, dir := range []string{"data/a", "slots/a/root"} {
		if _, err := os.Stat(filepath.Join(d.cfg.State, dir)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	d.restart()
	d.mustInstall("3.0.0")
}

// By force what is staged is read, and mended; without, the record is believed.
func TestForceLooksIntoTheSlot(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	path := d.pack("2.0.0", goodApp, nil)
	if r := d.stage(path); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	force := func() control.Result {
		return d.agent.Stage(t.Context(), control.StageRequest{Path: path, Force: true})
	}
	if r := force(); r.Exit != control.ExitNothing || r.Code != control.CodeAlreadyStaged || !strings.Contains(r.Message, "is whole") {
		t.Errorf("by force, whole: %+v", r)
	}
	d.spoil("b")
	if r := d.stage(path); r.Exit != control.ExitNothing || r.Code != control.CodeAlreadyStaged {
		t.Errorf("without force: %+v", r)
	}
	if r := force(); r.Exit != control.ExitDone || r.Staged == nil || r.Staged.Written == 0 || !strings.Contains(r.Message, "damaged") {
		t.Errorf("by force, damaged: %+v", r)
	}
	if r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true}); r.Exit != control.ExitDone {
		t.Errorf("activate: %+v", r)
	}
}

// A staged slot that is damaged is no verdict on its version: that is staged again, and
// needs no force.
func TestADamagedStagedSlotIsStagedAgain(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.mustInstall("1.0.0")
	path := d.pack("2.0.0", goodApp+"\n# "+noise(1<<20), nil)
	if r := d.stage(path); r.Exit != control.ExitDone {
		t.Fatalf("stage: %+v", r)
	}
	d.spoil("b")
	r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true})
	if r.Exit != control.ExitReverted || r.Record.Reason != agent.CauseDamaged || !strings.Contains(r.Message, "stage version 2.0.0 again") {
		t.Errorf("activate: %+v", r)
	}
	if s := d.wait("rest", inPhase("idle")); slot(s, "b").State != control.StateEmpty || slot(s, "a").App != "ready" {
		t.Errorf("%+v", s.Slots)
	}
	d.restart()
	s := d.wait("the permanent version", func(s control.Status) bool { return slot(s, "a").App == "ready" })
	if slot(s, "b").State != control.StateEmpty {
		t.Errorf("after a restart: %+v", slot(s, "b"))
	}
	if r := d.stage(path); r.Exit != control.ExitDone || r.Staged.Kept == 0 {
		t.Errorf("staged again: %+v, %+v", r, r.Staged)
	}
	if r := d.agent.Activate(t.Context(), control.ActivateRequest{Wait: true}); r.Exit != control.ExitDone {
		t.Errorf("activate: %+v", r)
	}
	d.stop()
	set, err := slots.Open(filepath.Join(d.cfg.State, "slots"), slots.Options{})
	d.must(err)
	defer set.Close()
	d.must(set.Verify(t.Context(), "b"))
}
