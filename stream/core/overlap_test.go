package core_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// bounded fails the test unless a gap that was reported lies between what viewers
// know of it: they got the first frame after it, and the last one before it was
// captured, at these times.
func bounded(t *testing.T, what string, report orders.StreamSwitch, least, most time.Duration) {
	t.Helper()
	if gap := time.Duration(report.GapMS * float64(time.Millisecond)); gap < least || gap > most {
		t.Errorf("%s: a gap of %v, which is not between %v and %v", what, gap, least, most)
	}
}

func (p picture) captured() time.Duration { return time.Duration(p.number) * frameTime }

// around returns the last picture before an index, and the one there.
func (v *viewer) around(i int) (before, after picture) {
	two := v.slice(i-1, i+1)
	return two[0], two[1]
}

// Both versions run: there is no more between two frames than there always is.
func TestGapsWithFullOverlap(t *testing.T) {
	t.Parallel()
	w, _, v := steadyWorld(t)
	both := []orders.Source{src("a-1", 0), src("b-2", 0)}
	w.order(orders.Orders{Sources: both, Permanent: "a-1"})
	b := w.camera("b-2", 'b', 10)
	w.order(orders.Orders{Sources: both, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	s := w.awaitSwitch()
	at := v.untilLetter('b', 0)
	before, after := v.around(at)
	bounded(t, "switch", s.Streams[0], 0, after.at-before.captured())
	v.until("more of b", at+20, func(p picture) bool { return p.letter == 'b' })
	b.close()
	r := w.awaitRevert()
	back := v.untilLetter('a', at)
	before, after = v.around(back)
	bounded(t, "revert", r.Streams[0], 0, after.at-before.captured())
	if r.Streams[0].GapMS == 0 || s.Streams[0].GapMS == 0 {
		t.Errorf("no gap was measured: %+v, %+v", s.Streams, r.Streams)
	}
	v.unbroken()
}

// The old version is gone before the new one comes: its viewers are held. The
// reverse is told twice, because the old version must be started anew.
func TestGapsWithoutOverlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, fresh := src("a-1", 0), src("b-2", 0)
	fresh.Streams[0].Invariants = []orders.Invariant{bound(orders.MeasureFrameRate, orders.AgainstPermanent, 0.5, 2)}
	w.order(orders.Orders{Sources: []orders.Source{old}, Permanent: "a-1"})
	a, v := w.camera("a-1", 'a', 10), w.viewer()
	v.until("two seconds of a", 200, func(picture) bool { return true })
	a.close()
	w.await("lost source", func(m orders.Message) bool { return m.Lost != nil })
	stopped := publish.Monotonic() // all that it had sent is with its viewers

	w.order(orders.Orders{Sources: []orders.Source{old, fresh}, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)})
	began := publish.Monotonic()
	b := w.camera("b-2", 'b', 10)
	s := w.awaitSwitch()
	at := v.untilLetter('b', 0)
	before, after := v.around(at)
	bounded(t, "switch", s.Streams[0], began-stopped, after.at-before.captured())

	for judged := false; !judged; { // a version that is gone is still compared with
		st := w.status()
		judged = len(st.Verdicts) == 1 && st.Verdicts[0].Judged
		if judged && (!st.Verdicts[0].Holds || st.Verdicts[0].Baseline != "history" || st.Verdicts[0].Base < 90 || st.Verdicts[0].Base > 110) {
			t.Errorf("verdict: %+v", st.Verdicts[0])
		}
		v.until("more of b", v.count(), func(p picture) bool { return p.letter == 'b' })
	}

	b.close()
	if r := w.awaitRevert(); r.Source != "" || r.Cause != orders.CauseEOF || r.Streams[0].Viewers != 1 {
		t.Errorf("revert without a source: %+v", r)
	}
	stopped = publish.Monotonic()
	old.ID = "a-3"
	w.order(orders.Orders{Sources: []orders.Source{old}, Permanent: "a-3"})
	began = publish.Monotonic()
	w.camera("a-3", 'c', 10)
	r := w.awaitRevert()
	at = v.untilLetter('c', at)
	before, after = v.around(at)
	bounded(t, "revert", r.Streams[0], began-stopped, after.at-before.captured())
	if r.Trial != "t1" || r.Source != "a-3" || r.Cause != orders.CauseEOF || r.First < r.Detected || r.Done < r.First || len(r.Streams) != 1 {
		t.Errorf("revert: %+v", r)
	}
	if again := w.ask(orders.Request{Hold: &orders.Hold{Trial: "t1", LeaseMS: 1000}}); again.Revert == nil || again.Revert.Source != "a-3" {
		t.Errorf("asked again: %+v", again)
	}
	v.until("more of c", at+20, func(p picture) bool { return p.letter == 'c' })
	v.unbrokenButHoles()
}

// freezer freezes and thaws an app as a cgroup does, or stands in for one.
type freezer struct {
	t    *testing.T
	file string // cgroup.freeze
	dir  string // of the cgroup; "": there is none
	app  *os.Process
}

// freezerOf puts an app into a cgroup of its own. Where cgroups cannot be made, a
// file stands in for cgroup.freeze, and signals for what it does.
func freezerOf(t *testing.T, app *exec.Cmd) *freezer {
	t.Helper()
	f := &freezer{t: t, app: app.Process, dir: filepath.Join(cgroups(t), "slipstream-test-"+strconv.Itoa(app.Process.Pid))}
	err := os.Mkdir(f.dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.dir, "cgroup.procs"), []byte(strconv.Itoa(app.Process.Pid)), 0)
		t.Cleanup(func() { app.Process.Kill(); app.Wait(); f.remove() })
	}
	if err == nil {
		f.file = filepath.Join(f.dir, "cgroup.freeze")
		return f
	}
	t.Logf("a file stands in for the cgroup freezer: %v", err)
	f.dir, f.file = "", filepath.Join(t.TempDir(), "cgroup.freeze")
	if err := os.WriteFile(f.file, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// cgroups finds where cgroup v2 is mounted.
func cgroups(t *testing.T) string {
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	defer mounts.Close()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 2 && words[2] == "cgroup2" {
			return words[1]
		}
	}
	return "/nonexistent"
}

// remove waits until the last of the app has left: then the cgroup can go.
func (f *freezer) remove() {
	if !eventually(func() bool { return os.Remove(f.dir) == nil }) {
		f.t.Errorf("cgroup %s not removed", f.dir)
	}
}

// eventually looks again and again for as long as the tests have patience.
func eventually(look func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if look() {
			return true
		}
	}
	return false
}

// freeze stops the app, as the agent would.
func (f *freezer) freeze() {
	f.t.Helper()
	if err := os.WriteFile(f.file, []byte("1"), 0); err != nil {
		f.t.Fatal(err)
	}
	if f.dir == "" {
		f.app.Signal(syscall.SIGSTOP)
		go f.standIn()
		return
	}
	f.await("frozen 1")
}

// standIn lets the app go on when the file says so.
func (f *freezer) standIn() {
	eventually(func() bool {
		b, err := os.ReadFile(f.file)
		return err != nil || string(b) == "0"
	})
	f.app.Signal(syscall.SIGCONT)
}

// await waits for what cgroup.events says.
func (f *freezer) await(line string) {
	f.t.Helper()
	if !eventually(func() bool {
		b, _ := os.ReadFile(filepath.Join(f.dir, "cgroup.events"))
		return slices.Contains(strings.Split(string(b), "\n"), line)
	}) {
		f.t.Fatalf("the cgroup never said %q", line)
	}
}

// frozenWorld is a viewer of camera b on trial, while the old version's app is
// frozen, a process of its own.
func frozenWorld(t *testing.T, invariants ...orders.Invariant) (w *world, f *freezer, b *camera, v *viewer, o orders.Orders) {
	t.Helper()
	w = newWorld(t)
	o = orders.Orders{Sources: []orders.Source{src("a-1", 0)}, Permanent: "a-1"}
	w.order(o)
	app, _ := w.appProcessOf("a-1", 0)
	f = freezerOf(t, app)
	handle, err := os.OpenFile(f.file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	v = w.viewer()
	v.until("two seconds of a: one is enough to compare with", 200, func(picture) bool { return true })

	fresh := src("b-2", 400)
	fresh.Streams[0].Invariants = invariants
	o.Sources[0].Freezer = 1
	o.Sources = append(o.Sources, fresh)
	w.order(o, int(handle.Fd()))
	o.Sources[0].Freezer = 0
	b = w.camera("b-2", 'b', 10)
	o.Trial = trialOf("t1", "b-2", time.Hour)
	w.order(o)
	w.awaitSwitch()
	f.freeze()
	o.Sources[0].Frozen = true
	w.order(o)
	at := v.untilLetter('b', 0)
	v.until("a second of b", at+100, func(p picture) bool { return p.letter == 'b' })
	return w, f, b, v, o
}

// A stalled version goes back to a frozen one: that is thawed, its past is not
// shown, and its silence is no excuse for the other one's.
func TestRevertThawsAFrozenSource(t *testing.T) {
	t.Parallel()
	w, f, b, v, o := frozenWorld(t)
	b.pause(true)
	r := w.awaitRevert()
	before, after := v.around(v.untilLetter('a', v.untilLetter('b', 0)))
	if after.captured() < time.Duration(r.Detected) {
		t.Errorf("a picture of %v before the freezer was opened is shown", time.Duration(r.Detected)-after.captured())
	}
	if r.Cause != orders.CauseStall || r.Source != "a-1" || r.First < r.Detected || len(r.Streams) != 1 {
		t.Errorf("revert: %+v", r)
	}
	silence := time.Duration(r.Detected) - before.captured()
	if silence > 1800*time.Millisecond {
		t.Errorf("the stall was seen after %v: the frozen source's silence was taken for the machine's", silence)
	}
	bounded(t, "revert", r.Streams[0], time.Duration(r.First-r.Detected), after.at-before.captured())
	if b, err := os.ReadFile(f.file); err != nil || strings.TrimSpace(string(b)) != "0" {
		t.Errorf("the freezer says %q, %v", b, err)
	}

	// The agent has frozen the source a moment later, and does not know yet.
	f.freeze()
	at := v.count()
	o.Trial = nil
	w.order(o)
	v.until("more of a", at+30, func(p picture) bool { return p.letter == 'a' })
	o.Sources[0].Frozen = false
	w.order(o)
	v.until("more of a", v.count()+10, func(p picture) bool { return p.letter == 'a' })
	v.unbrokenButHoles()
}

// A frozen version is compared with as it was before, and thawing it is the agent's
// once the new version is the permanent one.
func TestFrozenSourceStaysFrozen(t *testing.T) {
	t.Parallel()
	w, f, _, v, o := frozenWorld(t, bound(orders.MeasureFrameRate, orders.AgainstPermanent, 0.5, 2))
	j := &judged{world: w, v: v}
	held := j.hold()
	if held.Result != orders.ResultHeld || held.Verdicts[0].Baseline != "history" {
		t.Errorf("hold: %+v", held)
	}
	w.ask(orders.Request{Settle: &orders.Settle{Trial: "t1", Source: "b-2"}})
	o.Permanent, o.Trial = "b-2", nil
	w.order(o)
	at := v.count()
	v.until("more of b", at+30, func(p picture) bool { return p.letter == 'b' })
	if f.dir != "" {
		f.await("frozen 1")
	}
	v.unbrokenButHoles()
}

func TestOrdersThatFreezeNonsense(t *testing.T) {
	t.Parallel()
	w, _, v := steadyWorld(t)
	both := []orders.Source{src("a-1", 0), src("b-2", 0)}
	frozen := slices.Clone(both)
	frozen[1].Frozen = true
	missing := slices.Clone(both)
	missing[0].Freezer = 1
	for what, o := range map[string]orders.Orders{
		"a frozen trial":         {Sources: frozen, Permanent: "a-1", Trial: trialOf("t1", "b-2", time.Hour)},
		"a freezer that is none": {Sources: missing, Permanent: "a-1"},
	} {
		if m := w.ask(orders.Request{Orders: &o}); m.Result != orders.ResultError {
			t.Errorf("%s: %+v", what, m)
		}
	}
	// Without a freezer there is nothing to thaw with; viewers go on all the same.
	frozen = slices.Clone(both)
	frozen[0].Frozen = true
	w.order(orders.Orders{Sources: frozen, Permanent: "a-1"})
	v.until("more of a", v.count()+20, func(picture) bool { return true })
	v.unbrokenButHoles()
}
