package large_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/simulate"
	"slipstream/adminpanel/simulate/simtest"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/store/etcd/etcdtest"
	"slipstream/adminpanel/view"
)

var benchOut = flag.String("bench.fleet", "", "measure a panel with a large fleet, and write the figures to this file")

// bench gathers figures, and what each of them shall be at most or at least.
type bench struct {
	*testing.T
	sizes
	empty   float64 // memory of a panel without devices
	figures map[string]float64
	shown   []string
}

// sizes of what is measured.
type sizes struct {
	staged  int // devices that one click activates
	linked  int // devices that are linked at a time
	records int // devices in the store
	asks    int // requests of each kind
	span    time.Duration
	soak    time.Duration // of each trial
	settle  time.Duration // until memory is looked at
	cluster bool          // commits of an etcd too
	browser bool          // what Chromium shows too
}

// TestBench measures with the flag -bench.fleet, and otherwise that measuring works.
func TestBench(t *testing.T) {
	b := &bench{T: t, figures: map[string]float64{}, sizes: sizes{staged: 20, linked: 40, records: 1000, asks: 20, span: 100 * time.Millisecond, soak: 100 * time.Millisecond}}
	if *benchOut != "" {
		b.sizes = sizes{staged: 1000, linked: 10_000, records: 100_000, asks: 300, span: 5 * time.Second, soak: 5 * time.Second, settle: 30 * time.Second, cluster: true, browser: true}
		*devices = b.linked
	}
	b.stores()
	b.click()
	b.reads()
	if *benchOut != "" {
		b.print()
	}
}

// say keeps a figure. The target is in the words of the specification; "" for none.
func (b *bench) say(name string, v float64, unit, target string) {
	b.figures[name] = v
	b.shown = append(b.shown, fmt.Sprintf("%-44s %12.4g %-10s %s", name, v, unit, target))
}

func (b *bench) print() {
	fmt.Println(strings.Join(b.shown, "\n"))
	text, err := json.MarshalIndent(b.figures, "", "\t")
	if err == nil {
		err = os.WriteFile(*benchOut, append(text, '\n'), 0o644) //nolint:gosec // it is a report
	}
	if err != nil {
		b.Fatal(err)
	}
}

// stores measures commits a second, each of one key, beside the floor of a file that is
// written and flushed as often as can be.
func (b *bench) stores() {
	dir := b.TempDir()
	floor := b.flushes(filepath.Join(dir, "floor"))
	b.say("commits.floor", floor, "1/s", "4 KiB written and flushed, one after the other")
	s, err := bolt.Open(filepath.Join(dir, "store.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.commits("bbolt", s, floor)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	if b.cluster {
		b.commits("etcd", etcdtest.New(b).Open(b, "/bench/", 0, 1, 2), floor)
	}
}

func (b *bench) flushes(name string) float64 {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	began, n := time.Now(), 0
	for time.Since(began) < b.span {
		_, err := f.WriteAt(page, int64(n%256)*4096)
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	return float64(n) / time.Since(began).Seconds()
}

// commits measures one caller, and many at once.
func (b *bench) commits(name string, s store.Store, floor float64) {
	value := make([]byte, 1000)
	for _, callers := range []int{1, 64, 512} {
		ctx, cancel := context.WithTimeout(b.Context(), b.span)
		var done atomic.Int64
		var under sync.WaitGroup
		began := time.Now()
		for c := range callers {
			under.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					// One that is begun is waited for.
					if _, err := s.Commit(b.Context(), nil, []store.Op{{Key: fmt.Sprintf("d/%d-%d", c, i%50), Value: value}}); err != nil {
						b.Error(err)
						return
					}
					done.Add(1)
				}
			})
		}
		under.Wait()
		cancel()
		rate := float64(done.Load()) / time.Since(began).Seconds()
		b.say(fmt.Sprintf("commits.%s.%d", name, callers), rate, "1/s", fmt.Sprintf("%.2f × floor", rate/floor))
	}
}

// click measures how long one click takes to reach all of many staged devices, and what
// linked devices cost the panel.
func (b *bench) click() {
	p := place(b.T, filepath.Join(b.TempDir(), "panel"))
	token := p.start()
	b.empty = b.memory(p) // before a password is looked at, which takes 64 MiB that come back late
	p.setUp(token)
	p.signIn()
	n := b.staged
	s := simtest.Start(b, simulate.Config{Panel: p.devices, Tokens: p.tokens(n), Devices: n, Times: simulate.Times{Soak: b.soak}})
	p.linked(n)
	slow := plan(p.release("2.0.0").ID)
	slow.Waves = []view.Wave{{Count: 1, Pause: true}, {}}
	slow.MaxUnavailable, slow.MaxStaging, slow.TrialDeadlineMS = n, n, 600_000
	r := p.roll(slow)
	waits := p.rolled(r.ID, "staged", func(v view.Rollout) bool {
		return v.Total.Staged == n-1 && v.Total.Done == 1 && v.State == view.RolloutPaused
	})
	spent, spentThere := b.spent(p.cmd.Process.Pid), b.spent(s.PID())
	began := time.Now()
	if _, err := p.Verb(b.Context(), r.ID, client.Resume, view.RolloutVerb{}, waits.Rev); err != nil {
		b.Fatal(err)
	}
	answered := time.Since(began)
	p.until("all are on trial", func() bool { return s.Counts().Trials == n })
	last := s.Counts().Begun.Sub(began)
	shown := p.rolled(r.ID, "on trial", func(v view.Rollout) bool { return v.Total.Trial+v.Total.Done == n })
	b.say("click.answer", ms(answered), "ms", "")
	b.say("click.last-activation", ms(last), "ms", fmt.Sprintf("%d devices; ≤ 250", n))
	b.say("click.all-shown-on-trial", ms(time.Since(began)), "ms", "by then the page says so")
	b.say("click.cpu-of-panel", b.spent(p.cmd.Process.Pid)-spent, "ms", "of its own, whatever else the machine does")
	b.say("click.cpu-of-devices", b.spent(s.PID())-spentThere, "ms", "likewise, of all of them")
	b.say("click.p99-by-the-panel", shown.ActP99MS, "ms", "from the ask to the trial's word")

	more := b.linked - n
	simtest.Start(b, simulate.Config{Panel: p.devices, Prefix: "more", Tokens: p.tokens(more), Devices: more})
	p.linked(b.linked)
	time.Sleep(b.settle) // what handshakes took is given back
	b.say("linked.devices", float64(b.linked), "", "")
	b.say("linked.memory", (b.memory(p)-b.empty)/float64(b.linked), "bytes", "of the panel's, for each; ≤ 65 000")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// spent is how much of the processors a process has used, in milliseconds.
func (b *bench) spent(pid int) float64 {
	const tick = 10 // ms, of all Linux systems that have not been told otherwise
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	var sum int
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return float64(sum * tick)
}

// memory is what the panel's process has resident, in bytes.
func (b *bench) memory(p *panel) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) * 1024
		}
	}
	b.Fatal("the kernel does not say what is resident")
	return 0
}

// reads measures what people wait for while the store is full.
func (b *bench) reads() {
	p := newPanel(b.T)
	p.stop()
	b.fill(filepath.Join(p.data, "store.db"))
	began := time.Now()
	p.start()
	p.signIn()
	b.say("store.devices", float64(b.records), "", "")
	b.say("store.start", ms(time.Since(began)), "ms", "until the panel is ready")
	b.say("store.memory", (b.memory(p)-b.empty)/float64(b.records), "bytes", "of the panel's, for each device of the store")
	floor := b.asked("healthz", 0, func(int) error {
		resp, err := http.Get(p.url + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	b.asked("detail", floor, func(i int) error {
		_, err := p.Device(b.Context(), idOf(i*7919%b.records))
		return err
	})
	for name, q := range map[string]string{"list": "", "list-filtered": "version<1.4 site:site-1*", "list-by-word": "17", "list-none": "tag:nothing"} {
		b.asked(name, floor, func(int) error {
			_, err := p.DevicePage(b.Context(), q, "", 100)
			return err
		})
	}
	b.asked("versions", floor, func(int) error {
		_, err := p.Versions(b.Context(), "")
		return err
	})
	if b.browser {
		b.paints(p)
	}
}

// asked measures a request, beside the floor of one that does nothing.
func (b *bench) asked(name string, floor float64, ask func(i int) error) float64 {
	var took []time.Duration
	for i := range b.asks {
		began := time.Now()
		if err := ask(i); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	p50, p99 := ms(took[len(took)/2]), ms(took[len(took)*99/100])
	target := ""
	if floor > 0 {
		target = fmt.Sprintf("%.0f × floor", p50/floor)
	}
	b.say("read."+name+".p50", p50, "ms", target)
	b.say("read."+name+".p99", p99, "ms", map[bool]string{true: "≤ 200"}[floor > 0])
	return p50
}

func idOf(i int) string { return fmt.Sprintf("cam-%06d", i) }

// fill writes devices into a panel's store that have never called.
func (b *bench) fill(name string) {
	s, err := bolt.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	var ops []store.Op
	for i := range b.records {
		r := fleet.Record{
			ID: idOf(i), Name: "camera " + strconv.Itoa(i), Site: fmt.Sprintf("site-%d", i%400), Tags: []string{fmt.Sprintf("ring=%d", i%5)},
			Key: strings.Repeat("0", 64), Serial: strconv.Itoa(i), Enrolled: time.Now().UTC(), Product: "sample-camera", Hardware: "rig", Away: true, LastSeen: time.Now().UTC(),
			Settled: fleet.Settled{Running: fmt.Sprintf("1.%d.0", i%10), Slot: "a", Previous: "1.0.0"},
		}
		text, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		if ops = append(ops, store.Op{Key: "d/" + r.ID, Value: text}); len(ops) == store.MaxOps || i == b.records-1 {
			if _, err := s.Commit(b.Context(), nil, ops); err != nil {
				b.Fatal(err)
			}
			ops = ops[:0]
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}
