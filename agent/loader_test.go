package agent_test

import "slipstream/agent"

// loader is a boot loader that keeps the contract of package boot.
type loader struct {
	good, try string
	ok        map[string]bool // may be started
}

func newLoader(good string) *loader { return &loader{good: good, ok: map[string]bool{good: true}} }

// boot starts a system: a try is spent before the jump.
func (l *loader) boot() string {
	if s := l.try; s != "" {
		l.try, l.ok[s] = "", false
		return s
	}
	return l.good
}

func (l *loader) tryOnce(slot string) { l.try, l.ok[slot] = slot, true }

func (l *loader) cancel() {
	if l.try != "" {
		l.ok[l.try], l.try = false, ""
	}
}

func (l *loader) agree(slot string) {
	l.cancel()
	l.good, l.ok[slot] = slot, true
}

// systemDisk is what the record and the slots hold of systems, as the runner reads them.
type systemDisk struct {
	running string                   // "" on a device without system slots
	named   string                   // the record's system slot
	is      map[string]agent.Part    // by system slot: what the record says is in it
	live    map[string]agent.Version // by system slot: what was permanent with it
	before  map[string]agent.Version // and what the record calls previous
	content map[string]agent.Part    // whole content
}

func newSystemDisk(running string) *systemDisk {
	return &systemDisk{
		running: running, named: running, is: map[string]agent.Part{}, live: map[string]agent.Version{},
		before: map[string]agent.Version{}, content: map[string]agent.Part{},
	}
}

// found is what the runner reports of the systems.
func (d *systemDisk) found() agent.Systems {
	p := d.is[d.named]
	p.Slot = d.named
	return agent.Systems{Running: d.running, Permanent: p, Slots: [2]agent.Part{d.content["a"], d.content["b"]}}
}

// with is the system slot whose apps are meant: that which runs, if it holds what was
// permanent there.
func (d *systemDisk) with() string {
	if _, known := d.live[d.running]; known && d.content[d.running].Digest == d.is[d.running].Digest {
		return d.running
	}
	return d.named
}

// commit is the record's replacement.
func (d *systemDisk) commit(v, previous agent.Version) {
	if v.System.Slot == "" {
		d.live[d.running], d.before[d.running] = v, previous
		return
	}
	live, before := d.live[d.with()], d.before[d.with()]
	if v.Slot != "" {
		live, before = v, previous
	}
	d.named = v.System.Slot
	d.is[d.named], d.live[d.named], d.before[d.named] = v.System, live, before
}
