package agent_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/slots/powercut"
	"slipstream/verify"
)

// blackout is a device with two systems whose power fails: its slots, its record, its
// agent's journal, its systems' partitions and its boot loader's state are on one disk.
type blackout struct {
	*rebooter
	disk *powercut.Disk
	next string // the package that is installed after each power cut
}

func newBlackout(t *testing.T, f firmware) *blackout {
	disk := powercut.New(t, nil)
	b := &blackout{disk: disk}
	d := newDeviceOn(t, disk.Dir)
	dir := filepath.Join(disk.Dir, "firmware")
	d.must(os.Mkdir(dir, 0o755))
	b.rebooter = newRebooterOn(d, dir, f)
	if r := b.install(b.pack("1.0.0", b.script(goodApp), nil)); r.Exit != control.ExitDone {
		t.Fatalf("install: %+v", r)
	}
	b.expect("a", "1.0.0")
	b.must(disk.Settle())
	return b
}

// script is an app whose helper is not on the disk.
func (b *blackout) script(script string) string {
	return fmt.Sprintf("tell() { %s/tell \"$1\"; }\n%s", b.cfg.Bin, script)
}

func (b *blackout) say(format string, args ...any) { b.must(b.disk.Mark(fmt.Sprintf(format, args...))) }

// tries stages a system into a slot and starts it, for the one time that it has.
func (b *blackout) tries(slot, version, script string, change func(*verify.Manifest)) {
	path := b.system(version, script, change)
	b.say("writes %s", slot)
	if r := b.stage(path); r.Exit != control.ExitDone {
		b.Fatalf("stage: %+v", r)
	}
	b.say("staged %s %s", slot, version)
	if r := b.agent.Activate(b.Context(), control.ActivateRequest{}); r.Exit != control.ExitDone {
		b.Fatalf("activate: %+v", r)
	}
	b.ends(slot)
	b.say("starts %s", version)
	b.boot()
}

// ends is the reboot that was asked for, up to the next system. What ends a system
// flushes its disks.
func (b *blackout) ends(slot string) {
	b.waitAsked()
	b.say("asked %s", slot)
	b.off()
	b.must(b.disk.Settle())
	b.say("flushed")
	b.choose()
	if b.running != slot {
		b.Fatalf("system %s was started, not %s", b.running, slot)
	}
}

// update makes a system permanent, with its app if it has one.
func (b *blackout) update(slot, version, script, live string) {
	b.say("commits %s", version)
	b.tries(slot, version, script, nil)
	b.ended(control.OutcomePermanent, "", 1)
	b.expect(slot, live)
	b.say("committed %s", version)
	b.say("remembers")
}

// revert takes back a system with its app.
func (b *blackout) revert(slot, version, back string) {
	b.tries(slot, version, b.script(mute), nil)
	b.wait("trial", inPhase(string(agent.PhaseTrial)))
	var asks sync.WaitGroup
	asks.Go(func() { b.agent.Revert(b.Context()) }) // it is not answered: the agent ends with its system
	b.ends(back)
	asks.Wait()
	b.boot()
	b.ended(control.OutcomeReverted, "operator", 2)
	b.say("remembers")
}

// TestPowerCutOfSystems cuts the power at every instant of whole updates of the
// system, with each kind of boot loader: one is made permanent, one is taken back with
// its app, and one is made permanent with its app.
func TestPowerCutOfSystems(t *testing.T) {
	kinds := firmwares()
	if !*powercut.Full {
		kinds = kinds[:3]
	}
	for _, f := range kinds {
		t.Run(f.kind, func(t *testing.T) {
			t.Parallel()
			cutSystems(t, f)
		})
	}
}

func cutSystems(t *testing.T, f firmware) {
	b := newBlackout(t, f)
	b.update("b", "2.0.0", "", "1.0.0")
	b.revert("a", "3.0.0", "b")
	b.update("a", "4.0.0", b.script(goodApp), "4.0.0")
	log, err := b.disk.Log()
	b.must(err)
	b.next = b.system("9.0.0", "", nil)
	b.off()

	// What is on the disk is looked at in many states, and an agent started in some.
	disk := &powercut.Explorer{Limit: 16, Restarts: 150, Check: func(dir string, told []string) error { return b.found(t, dir, told) }}
	device := &powercut.Explorer{Limit: 16, Restarts: 4, Workers: 4, Check: func(dir string, told []string) error { return b.comesUp(t, dir, told) }}
	if *powercut.Full {
		disk.Limit, disk.Restarts, device.Restarts = 1024, 0, 400
	}
	for _, e := range []*powercut.Explorer{disk, device} {
		tally, err := e.Run(log, log.Begin())
		t.Logf("power cut: seed=%d %v, of at most %d states a cut", *powercut.Seed, tally, e.Limit)
		b.must(err)
	}
	needed := powercut.Needed{}
	disk.Limit, disk.Restarts, disk.Within = 16, 0, 40
	seen, err := disk.Unheard(ofBoot(log), needed)
	b.must(err)
	t.Logf("without one flush: %d restarts, %d found bad", seen.Restarts, seen.Bad)
	if err := needed.Check(needlessOfBoot); err != nil {
		t.Error(err)
	}
}

// ofBoot leaves of who flushes what the boot loader's state needs. The slots, the
// record and the trust state have tests of their own.
func ofBoot(log powercut.Log) powercut.Log {
	log.Ops = slices.Clone(log.Ops)
	for i, o := range log.Ops {
		if !strings.HasPrefix(o.Caller, "boot.") {
			log.Ops[i].Caller = ""
		}
	}
	return log
}

// needlessOfBoot are flushes that protect nothing in these updates.
var needlessOfBoot = map[string]string{
	"boot.control.Cancel < agent": "the system that is taken back has had its one try, which the boot loader itself has noted",
}

// remains is what a device was told, and so what it may be after a power cut.
type remains struct {
	systems map[string]bool   // versions that may be permanent
	staged  map[string]string // by slot: the version that it must hold; "": it is being written
	started map[string]int    // how often each version was
	asked   string            // slot that the reboot is to start which was asked for
	history int               // lines at least
}

// factory is the version of what is in the partitions at first.
const factory = ""

func remainsAfter(told []string) remains {
	r := remains{systems: map[string]bool{factory: true}, staged: map[string]string{}, started: map[string]int{}}
	for _, word := range told {
		verb, what, _ := strings.Cut(word, " ")
		switch slot, version, _ := strings.Cut(what, " "); verb {
		case "commits":
			r.systems[what] = true
		case "committed":
			r.systems = map[string]bool{what: true}
			delete(r.started, what) // that was its trial
		case "writes":
			delete(r.staged, slot)
		case "staged":
			r.staged[slot] = version
		case "asked":
			r.asked = what
		case "flushed":
			r.asked = ""
		case "starts":
			r.started[what]++
		case "remembers":
			r.history++
		}
	}
	return r
}

// found looks at what is on the disk before anything is started.
func (b *blackout) found(t *testing.T, disk string, told []string) error {
	may, dir := remainsAfter(told), filepath.Join(disk, "firmware")
	record, err := b.permanent(disk, may)
	if err != nil {
		return err
	}
	if err := wholeSlots(t.Context(), filepath.Join(disk, "state"), dir, record, may); err != nil {
		return err
	}
	c, err := b.firmware.open(dir)
	if err != nil {
		return err
	}
	s, err := c.State()
	if err != nil {
		return err
	}
	if next := cmp.Or(s.Trial, s.Permanent); may.asked != "" && next != may.asked {
		return fmt.Errorf("a reboot into system slot %s was asked for, and the boot loader would start %s", may.asked, next)
	}
	if len(may.systems) == 1 && s.Permanent != record.System {
		return fmt.Errorf("system slot %s is permanent, and for the boot loader %s is", record.System, s.Permanent)
	}
	for slot, is := range s.Slots {
		if _, err := whole(dir, slot); is.Bootable && err != nil {
			return fmt.Errorf("the boot loader would start system slot %s: %w", slot, err)
		}
	}
	if !s.Slots[s.Permanent].Bootable {
		return fmt.Errorf("the boot loader would not start its permanent slot %s", s.Permanent)
	}
	return nil
}

// permanent is what the record says, and must be whole.
func (b *blackout) permanent(disk string, may remains) (slots.Record, error) {
	record, err := recordIn(filepath.Join(disk, "state"))
	if err != nil {
		return record, err
	}
	named := record.Systems[record.System].Version
	if !may.systems[named] {
		return record, fmt.Errorf("system %q is permanent, of %v", named, may.systems)
	}
	if live, want := record.Live[record.System].Version, liveWith(named); live != want {
		return record, fmt.Errorf("with system %q version %q is permanent, want %q", named, live, want)
	}
	if is, err := whole(filepath.Join(disk, "firmware"), record.System); err != nil || is != named {
		return record, fmt.Errorf("system slot %s is to hold %q and holds %q: %w", record.System, named, is, err)
	}
	return record, nil
}

// liveWith is the app that is permanent with a system.
func liveWith(system string) string {
	if system == "4.0.0" {
		return "4.0.0"
	}
	return "1.0.0"
}

func recordIn(state string) (slots.Record, error) {
	f, err := slots.OpenRecord(state)
	if err != nil {
		return slots.Record{}, err
	}
	defer f.Close()
	return f.Load()
}

// whole is the version in a partition, which must be there to the last byte.
func whole(dir, slot string) (version string, err error) {
	raw, err := os.ReadFile(partition(dir, slot))
	if err != nil {
		return "", err
	}
	if bytes.Equal(raw, factoryImage) {
		return factory, nil
	}
	if _, err := fmt.Fscanf(bytes.NewReader(raw), "system %s\n", &version); err != nil || !bytes.HasPrefix(raw, systemImage(version)) {
		return "", fmt.Errorf("system slot %s is torn: it begins with %.14q", slot, raw)
	}
	return version, nil
}

// wholeSlots wants what the slots call staged to be whole, and what was said to be
// staged to be there.
func wholeSlots(ctx context.Context, state, dir string, record slots.Record, may remains) error {
	systems, err := slots.Open(filepath.Join(state, "system"), slots.Options{Partitions: map[string]string{"a": partition(dir, "a"), "b": partition(dir, "b")}})
	if err != nil {
		return err
	}
	defer systems.Close()
	for _, slot := range []string{"a", "b"} {
		st, err := systems.Status(slot)
		if want := may.staged[slot]; err == nil && want != "" && (st.State != slots.StateStaged || st.Version != want) {
			err = fmt.Errorf("system slot %s is to hold %s, and is %+v", slot, want, st)
		}
		if err == nil && st.State == slots.StateStaged {
			err = systems.Verify(ctx, slot)
		}
		if err != nil {
			return err
		}
	}
	live, err := slots.Open(filepath.Join(state, "slots"), slots.Options{})
	if err != nil {
		return err
	}
	defer live.Close()
	is := record.Live[record.System]
	if st, err := live.Status(is.Slot); err != nil || st.Digest != is.Digest {
		return fmt.Errorf("version %s is permanent in slot %s, which holds %+v, %w", is.Version, is.Slot, st, err)
	}
	return live.Verify(ctx, is.Slot)
}

// comesUp starts the device with what its disk holds, as often as it asks for that, and
// then updates its system.
func (b *blackout) comesUp(t *testing.T, disk string, told []string) (err error) {
	if err := b.found(t, disk, told); err != nil {
		return err
	}
	s, err := b.surviving(t, disk, remainsAfter(told))
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.cfg.Run)
	defer func() {
		err = errors.Join(err, s.off())
		if err != nil {
			err = fmt.Errorf("%w\nthe agent's log:\n%s", err, s.said.String())
		}
	}()
	if err := s.settles(); err != nil {
		return err
	}
	if _, err := b.permanent(disk, s.may); err != nil {
		return fmt.Errorf("after the restart: %w", err)
	}
	if history, err := s.agent.History(t.Context(), 100); err != nil || len(history) < s.may.history {
		return fmt.Errorf("of %d lines of its history it knows %d, %w", s.may.history, len(history), err)
	}
	return s.updates(b.next)
}
