package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/agent/supervise"
	"slipstream/slots"
	"slipstream/stream/orders"
	"slipstream/verify"
)

// recovered collects what the disk and the kernel say, as the agent's first
// event, and takes over what still runs.
func (a *Agent) recovered(ctx context.Context) (Recover, error) {
	boot, err := a.host.BootID()
	if err != nil {
		return Recover{}, fmt.Errorf("agent: read the boot id: %w", err)
	}
	e := Recover{Boot: boot, Up: int64(a.host.Uptime())}
	if e.Permanent, e.Previous, e.System, err = a.permanent(); err != nil {
		return Recover{}, fmt.Errorf("agent: %w", err)
	}
	e.Runtime = a.permanentRuntime()
	a.seedTrust(e.Permanent, e.Previous)
	if a.fresh && !e.Permanent.none() {
		e.Base = time.Now().Unix() // the journal is lost: no number may come twice
	}
	for i, slot := range slotNames {
		a.finishStaging(slot)
		e.Slots[i] = a.content(slot)
	}
	a.markers.clean(a.state.Trial.ID)
	a.takeBack()
	e.NoFreezer = a.findGroups()
	e.Forwarder, e.Outdated = a.startDaemons(ctx)
	e.Alive = a.adoptApps()
	if last, err := a.journal.history(1); err == nil && len(last) > 0 {
		a.mu.Lock()
		a.seen.last = &last[0]
		a.mu.Unlock()
	}
	return e, nil
}

// permanent is what the active record says. If every copy of it is broken, the
// journal's copy is the best that there is, and is made the record again.
func (a *Agent) permanent() (permanent, previous Version, systems Systems, err error) {
	r, err := a.record.Load()
	switch {
	case errors.Is(err, slots.ErrNoRecord):
		return Version{}, Version{}, a.foundSystems(slots.Record{}), nil
	case errors.Is(err, slots.ErrRecordLost) && !a.state.Permanent.none():
		a.log.Error("active record lost; the journal's copy takes its place", "reason", err)
		if r, err = a.journalled(); err != nil {
			return Version{}, Version{}, Systems{}, err
		}
	case err != nil:
		return Version{}, Version{}, Systems{}, err
	}
	systems = a.foundSystems(r)
	live, known := r.Live[a.recordedWith(r)]
	if !known {
		return Version{}, Version{}, systems, nil // a system alone is permanent
	}
	permanent = a.known(live)
	permanent.Counter = live.Counter
	if p := live.Previous; p != nil {
		previous = Version{Slot: p.Slot, Digest: p.Digest, Version: p.Version, Counter: p.Counter}
	}
	return permanent, previous, systems, nil
}

// journalled makes the journal's copy the record again. Where the record names a
// system, it is the one that holds for it.
func (a *Agent) journalled() (slots.Record, error) {
	v := a.state.Permanent
	v.System, v.Runtime = a.state.System.Permanent, a.state.Runtime.Permanent
	r := a.recorded(slots.Record{}, v, a.state.Previous)
	return r, a.record.Replace(r)
}

// known is the permanent version, as its own signed words describe it. Whether it
// may be started is judged when it is.
func (a *Agent) known(live slots.Live) Version {
	head, err := a.set.Manifest(live.Slot)
	if err == nil {
		var m verify.Manifest
		if m, err = verify.Known(head, live.Digest); err == nil {
			return versionOf(m, live.Digest, live.Slot)
		}
	}
	a.log.Error("slot does not hold the permanent version", "slot", live.Slot, "version", live.Version, "reason", err)
	if p := a.state.Permanent; p.Digest == live.Digest && p.Slot == live.Slot {
		return p // the journal's copy
	}
	return Version{Slot: live.Slot, Digest: live.Digest, Version: live.Version}
}

// content is the whole and signed version in a slot; zero if there is none.
func (a *Agent) content(slot string) Version {
	st, err := a.set.Status(slot)
	if err != nil || st.State != slots.StateStaged {
		return Version{}
	}
	v, _, err := a.recheck(slot)
	if err != nil {
		a.log.Error("slot holds no version that may run", "slot", slot, "reason", err)
		if _, trustErr := a.trust(); trustErr != nil && a.state.version(slot).Digest == st.Digest {
			return a.state.version(slot) // it was verified when it was staged, and will be before it is started
		}
		return Version{}
	}
	return v
}

// adoptApps takes over the apps that still run and that the journal knows, and
// ends the others: after a lost journal nobody could tell what they are.
func (a *Agent) adoptApps() (alive []Alive) {
	apps := map[string]orders.SourceID{}
	for i, app := range a.state.Apps {
		if app.Source != "" {
			apps[string(app.Source)] = app.Source
			m, err := a.knownManifest(slotNames[i])
			if err != nil {
				m = verify.Manifest{App: &verify.App{}} // which declares nothing
			}
			a.expectStored(app.Source, slotNames[i], a.state.place(slotNames[i]), m)
			if p, ok := a.sup.Adopt(string(app.Source)); ok {
				a.adopt(app.Source, slotNames[i], p)
				alive = append(alive, Alive{Source: app.Source, PID: p.PID()})
			}
		}
	}
	for _, name := range a.sup.Recorded() {
		source := orders.SourceID(strings.TrimPrefix(name, "ingest-"))
		if isInstance(name, forwarderName) || name == gatewayName || a.runs[source] != nil {
			continue
		}
		if p, ok := a.sup.Adopt(name); ok {
			a.log.Warn("stray process ended", "name", name, "pid", p.PID())
			g := a.findGroup(source, p.PID())
			p.Kill()
			a.endGroup(g)
		}
	}
	if a.groups != nil {
		a.groups.Clean()
	}
	return alive
}

// adoptProcess adopts what an earlier agent has left; where none was, there is
// nothing to miss.
func (a *Agent) adoptProcess(name string) (*supervise.Process, bool) {
	if !slices.Contains(a.sup.Recorded(), name) {
		return nil, false
	}
	return a.sup.Adopt(name)
}

// tellWhenKnown waits until it is known that an adopted process lives.
func (a *Agent) tellWhenKnown(source orders.SourceID, p *supervise.Process) {
	select {
	case <-p.Known():
		a.post(AppKnown{Source: source, PID: p.PID()})
	case <-p.Done():
	case <-a.stopped:
	}
}

// adopt takes over an app that still runs. One of which nobody can tell what it
// declares, or that has lost its ingest and so its way to the viewers, is ended
// and started anew.
func (a *Agent) adopt(source orders.SourceID, slot string, p *supervise.Process) {
	r := a.planAdopted(source, slot)
	r.process, r.group = p, a.findGroup(source, p.PID())
	if app := r.manifest.App; app != nil {
		a.limit(source, r.group, app.Limits) // they may have been taken away since
	}
	if source != a.state.Trial.Frozen {
		a.thaw(source) // the agent before may have ended between the word and the deed
	}
	if r.manifest.App != nil {
		a.sockets.takeBack(p, r.manifest.App.Listen)
	}
	ingest, found := a.adoptProcess(ingestName(source))
	seat := a.seat(source)
	attend(seat, p, true)
	a.wg.Go(func() { a.follow(r, launched{p, ingest, r.group, seat}) })
	if p.PID() == 0 {
		a.wg.Go(func() { a.tellWhenKnown(source, p) })
	}
	switch _, _, err := a.recheck(a.state.home(slot)); {
	case r.refused != nil:
		a.log.Error("app ended: its slot no longer says what it is", "source", source, "reason", r.refused)
		a.wg.Go(p.Kill)
	case r.manifest.App.PublishRTSP && !found:
		a.log.Error("app ended: its ingest is gone", "source", source)
		a.thaw(source)
		a.wg.Go(func() { p.Stop(ingestGrace) })
	case err != nil:
		a.log.Error("app runs on, but would not be started again", "source", source, "reason", err)
		a.mu.Lock()
		a.doubts[source] = a.state.home(slot)
		a.mu.Unlock()
	}
}
