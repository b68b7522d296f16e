package simulate_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/simulate/simtest"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// world is a panel, and a release of it.
type world struct {
	*simtest.Panel
	t      *testing.T
	target wire.Target
}

func newWorld(t *testing.T) world {
	slip, digest := build(t, "2.0.0")
	w := world{simtest.New(t, nil), t, wire.Target{Digest: digest, URL: "/v1/releases/two", Version: "2.0.0"}}
	w.Releases = simtest.Serve(map[string][]byte{"two": slip})
	return w
}

// run has a fleet call until the test ends.
func (w world) run(cfg simulate.Config) *simulate.Fleet {
	w.t.Helper()
	cfg.Panel, cfg.Tokens, cfg.Log = w.URL, []wire.Token{w.Token}, slog.New(slog.DiscardHandler)
	f, err := simulate.NewFleet(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
	})
	w.UntilOnline(cfg.Devices, patience)
	return f
}

func (w world) want(d *simulate.Device, epoch uint64) {
	w.t.Helper()
	if err := w.Hub.SetDesired(d.ID, wire.Desired{Epoch: epoch, Live: w.target, Activate: true}, time.Time{}); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a device's word.
func (w world) until(d *simulate.Device, what string, wanted func(hub.Device) bool) hub.Device {
	w.t.Helper()
	late := time.After(patience)
	watch := w.Hub.Watch()
	defer watch.Close()
	for {
		is, _ := w.Hub.Device(d.ID)
		if wanted(is) {
			return is
		}
		select {
		case <-watch.Changed():
			watch.Take()
		case <-late:
			text, _ := json.Marshal(is)
			w.t.Fatalf("%s, a device whose fate is %q, did not come to %s: %s", d.ID, d.Fate, what, text)
		}
	}
}

func slotOf(d hub.Device, digest string) string {
	if d.Status == nil {
		return ""
	}
	for _, s := range d.Status.Slots {
		if s.Digest == digest {
			return s.State
		}
	}
	return ""
}

// quick are times that tests have.
var quick = simulate.Times{Soak: 50 * time.Millisecond, Late: 20 * time.Millisecond, Away: 50 * time.Millisecond}

// TestFates brings each kind of device a version, and looks at what its panel sees of it.
func TestFates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	share := 1.0 / 7
	f := w.run(simulate.Config{Devices: 7, Seed: 3, Times: quick, Shares: simulate.Shares{Fates: map[simulate.Fate]float64{
		simulate.Fails: share, simulate.Hangs: share, simulate.Silent: share, simulate.Late: share, simulate.Offline: share, simulate.Refuses: share,
	}}})
	last := func(outcome, reason string) func(hub.Device) bool {
		return func(d hub.Device) bool {
			l := d.Status.Last
			return d.Online && l.Outcome == outcome && l.Reason == reason && l.To == "2.0.0" && d.Status.Trial == nil
		}
	}
	reported := func(state string) func(hub.Device) bool {
		return func(d hub.Device) bool { return d.Report != nil && d.Report.State == state }
	}
	ends := map[simulate.Fate]func(hub.Device) bool{
		simulate.Good:    last(control.OutcomePermanent, ""),
		simulate.Fails:   last(control.OutcomeReverted, "stall"),
		simulate.Hangs:   reported(wire.ReportTrial),
		simulate.Silent:  func(d hub.Device) bool { return slotOf(d, w.target.Digest) == control.StateStaged },
		simulate.Late:    func(d hub.Device) bool { return slotOf(d, w.target.Digest) == control.StateReverted },
		simulate.Offline: last(control.OutcomeReverted, "power"),
		simulate.Refuses: reported(wire.ReportRefused),
	}
	met := map[simulate.Fate]bool{}
	for _, d := range f.Devices() {
		met[d.Fate] = true
		w.want(d, 1)
	}
	for _, d := range f.Devices() {
		is := w.until(d, "its end", ends[d.Fate])
		permanent := map[bool]string{true: "2.0.0", false: "1.0.0"}[d.Fate == simulate.Good]
		if is.Status.Permanent != permanent {
			t.Errorf("a device whose fate is %q has %s", d.Fate, is.Status.Permanent)
		}
		if d.Fate == simulate.Silent && is.Report.State != wire.ReportStaging {
			t.Errorf("the silent device says of its trial: %+v", is.Report)
		}
	}
	if len(met) != len(ends) {
		t.Errorf("seven devices have the fates %v", met)
	}
	c := f.Counts()
	if want := (simulate.Did{Stages: 6, Trials: 5, Permanent: 1, Reverted: 3, Refused: 1}); c.Did != want {
		t.Errorf("they have done %+v, want %+v", c.Did, want)
	}
}

// TestATrialOfAnOperators waits for a mark from the panel, and is taken back without one.
func TestATrialOfAnOperators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.run(simulate.Config{Devices: 2, Device: simulate.Spec{Marker: "operator"}})
	for i, ask := range []wire.Ask{{Greenlight: &struct{}{}}, {Revert: &struct{}{}}} {
		d := f.Devices()[i]
		w.want(d, 1)
		w.until(d, "a trial", func(is hub.Device) bool { return is.Status.Phase == "trial" })
		a, err := w.Hub.Ask(t.Context(), d.ID, ask)
		var r control.Result
		if err == nil {
			err = json.Unmarshal(a.Result, &r)
		}
		if err != nil || r.Exit != control.ExitDone {
			t.Fatalf("%v, %+v", err, r)
		}
		end := []string{control.StatePermanent, control.StateReverted}[i]
		w.until(d, end, func(is hub.Device) bool { return slotOf(is, w.target.Digest) == end })
		if i == 0 { // and there is a way back
			if _, err := w.Hub.Ask(t.Context(), d.ID, wire.Ask{Revert: &struct{}{}}); err != nil {
				t.Fatal(err)
			}
			w.until(d, "the version before", func(is hub.Device) bool {
				return is.Status.Last.Return == "operator" && is.Status.Permanent == "1.0.0" && slotOf(is, w.target.Digest) == control.StateReverted
			})
		}
		if i == 1 { // a version that was reverted is not tried again
			w.want(d, 2)
			w.until(d, "a report", func(is hub.Device) bool { return is.Report.Epoch == 2 && is.Report.State == wire.ReportReverted })
		}
	}
}

func TestWhatDevicesLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.run(simulate.Config{Devices: 2, Download: true})
	for _, d := range f.Devices() {
		w.want(d, 1)
		w.until(d, "the version", func(is hub.Device) bool { return is.Status.Permanent == "2.0.0" })
	}
	d := f.Devices()[0]
	err := w.Hub.SetDesired(d.ID, wire.Desired{Epoch: 2, Live: wire.Target{Digest: "ff", URL: "/v1/releases/none"}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	is := w.until(d, "a report", func(is hub.Device) bool {
		return is.Report.Epoch == 2 && is.Report.State == wire.ReportFailed && is.Status.Phase == "idle"
	})
	if is.Report.Code != "fetch" {
		t.Errorf("a package that the panel does not have: %+v, %s", is.Report, is.Status.Phase)
	}
}

// TestAnOldClock shows in what a device says, and nowhere else.
func TestAnOldClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.run(simulate.Config{Devices: 1, Shares: simulate.Shares{OldClock: 1, Slow: 1}, Times: simulate.Times{Soak: time.Millisecond}})
	d := f.Devices()[0]
	w.want(d, 1)
	is := w.until(d, "the version", func(is hub.Device) bool { return is.Status.Permanent == "2.0.0" })
	if age := time.Since(is.Status.Time); age < 7*365*24*time.Hour || time.Since(is.Status.Last.Time) < age {
		t.Errorf("a device with an old clock says it is %v", is.Status.Time)
	}
}

func TestTheStateOfAFleetIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	state := t.TempDir()
	for range 2 {
		// The second time nobody may enrol.
		cfg := simulate.Config{Devices: 2, State: state, Panel: w.URL, Tokens: []wire.Token{w.Token}, Log: slog.New(slog.DiscardHandler)}
		f, err := simulate.NewFleet(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		w.UntilOnline(2, patience)
		cancel()
		<-ended
		w.Until(2, patience, func(d hub.Device) bool { return !d.Online })
		w.Full.Store(true)
	}
}

func TestSharesAreExactAndFollowTheSeed(t *testing.T) {
	t.Parallel()
	fatesOf := func(seed uint64) (all []simulate.Fate) {
		f, err := simulate.NewFleet(simulate.Config{
			Devices: 1000, Seed: seed, Tokens: make([]wire.Token, 1), Log: slog.New(slog.DiscardHandler),
			Shares: simulate.Shares{Fates: map[simulate.Fate]float64{simulate.Fails: 0.01, simulate.Late: 0.255}, OldClock: 0.1},
		})
		if err != nil {
			t.Fatal(err)
		}
		counts := map[simulate.Fate]int{}
		old := 0
		for _, d := range f.Devices() {
			all = append(all, d.Fate)
			counts[d.Fate]++
			if d.Behind > 0 {
				old++
			}
		}
		if want := map[simulate.Fate]int{simulate.Fails: 10, simulate.Late: 255, simulate.Good: 735}; !reflect.DeepEqual(counts, want) || old != 100 {
			t.Errorf("%v have the fates, and %d an old clock", counts, old)
		}
		return all
	}
	if one := fatesOf(1); !slices.Equal(one, fatesOf(1)) || slices.Equal(one, fatesOf(2)) {
		t.Error("who behaves how does not follow from the seed")
	}
}

func TestSharesThatCannotBe(t *testing.T) {
	for _, text := range []string{"", "1", "x%", "-1%", "101%", "NaN%"} {
		if v, err := simulate.ParseShare(text); err == nil {
			t.Errorf("%q was taken for the share %v", text, v)
		}
	}
	if v, err := simulate.ParseShare(" 0.5 % "); err != nil || v != 0.005 {
		t.Errorf("0.5 %%: %v, %v", v, err)
	}
	for _, s := range []simulate.Shares{
		{Fates: map[simulate.Fate]float64{"odd": 0.1}},
		{Fates: map[simulate.Fate]float64{simulate.Fails: 0.6, simulate.Hangs: 0.6}},
		{Slow: 2},
	} {
		if _, err := simulate.NewFleet(simulate.Config{Devices: 1, Shares: s, Tokens: make([]wire.Token, 1)}); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
	if _, err := simulate.NewFleet(simulate.Config{}); err == nil || !strings.Contains(err.Error(), "0 devices") {
		t.Errorf("no devices: %v", err)
	}
}

// TestAPanelThatRefuses ends the fleet with its reason.
func TestAPanelThatRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Full.Store(true)
	f, err := simulate.NewFleet(simulate.Config{Devices: 3, Panel: w.URL, Tokens: []wire.Token{w.Token}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.Run(ctx); err == nil || !strings.Contains(err.Error(), "enrol sim-0000") || !strings.Contains(err.Error(), "was used") {
		t.Errorf("a token that was used: %v", err)
	}
}
