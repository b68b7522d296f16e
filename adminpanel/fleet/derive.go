package fleet

import (
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// Link is what the hub knows of a device.
type Link struct {
	Online bool
	Seen   time.Time       // when it was last heard
	Status *control.Status // newest that it sent; nil before the first. It is not changed
}

// phases are what the agent's phases mean to the fleet's operator. In those that are not
// here nothing is under way.
var phases = map[string]string{
	"staging":    view.DeviceStaging,
	"clearing":   view.DeviceTrial,
	"arming":     view.DeviceTrial,
	"rebooting":  view.DeviceTrial,
	"renewing":   view.DeviceTrial,
	"starting":   view.DeviceTrial,
	"trial":      view.DeviceTrial,
	"committing": view.DeviceTrial,
	"reverting":  view.DeviceReverting,
}

// state is the first of view's states that applies. Its staged version is that of d.
func state(d *view.Device, s *control.Status) string {
	if !d.Online {
		return view.DeviceOffline
	}
	if s != nil {
		if under, ok := phases[s.Phase]; ok {
			return under
		}
		if len(s.Problems) > 0 {
			return view.DeviceProblem
		}
	}
	if d.Staged != "" {
		return view.DeviceStaged
	}
	return view.DeviceReady
}

// versions reads a status: what is where now.
func versions(s *control.Status) Settled {
	v := Settled{Running: heard(s.Permanent)}
	for _, slot := range s.Slots {
		switch slot.State {
		case control.StatePermanent:
			v.Slot = heard(slot.Name)
		case control.StateStaged:
			v.Staged = heard(slot.Version)
		case control.StatePrevious:
			v.Previous = heard(slot.Version)
		}
	}
	v.System, v.Staged = ofSystems(s.Systems, v.Staged)
	v.Runtime, v.Staged = ofSystems(s.Runtimes, v.Staged)
	if v.Runtime == "" {
		v.Runtime = heard(s.Agent)
	}
	if t := s.Trial; t != nil && !t.TookOver.IsZero() && phases[s.Phase] == view.DeviceTrial {
		v.Running, v.Slot = heard(t.Version), heard(t.Slot)
	}
	return v
}

// maxPictures bounds what is told of a device's streams.
const maxPictures = 8

// sounds are the codecs of streams that cannot be watched.
var sounds = []string{"opus", "pcmu", "pcma", "aac"}

// pictures are the streams that can be watched. Their sizes a status may not know yet.
func pictures(streams []control.StreamStatus) (names []string) {
	for _, s := range streams {
		if !slices.Contains(sounds, s.Codec) && len(names) < maxPictures {
			names = append(names, heard(s.Name))
		}
	}
	return names
}

func ofSystems(slots []control.System, staged string) (running, waits string) {
	for _, slot := range slots {
		if slot.Running {
			running = heard(slot.Version)
		}
		if slot.State == control.StateStaged && staged == "" {
			staged = heard(slot.Version)
		}
	}
	return running, staged
}

// heard bounds a word of a device.
func heard(word string) string {
	word = strings.ToValidUTF8(word, "?")
	if len(word) > maxHeard {
		word = strings.ToValidUTF8(word[:maxHeard], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, word)
}

// settle takes what a status says into a record, unless something is under way.
func (r *Record) settle(s *control.Status) {
	if phases[s.Phase] != "" && phases[s.Phase] != view.DeviceStaging {
		return
	}
	tried := r.Tried
	if l := s.Last; l != nil && l.Outcome == control.OutcomeReverted && l.To != "" {
		tried = append(slices.DeleteFunc(slices.Clone(tried), func(v string) bool { return v == heard(l.To) }), heard(l.To))
		tried = tried[max(0, len(tried)-maxTried):]
	}
	r.Product, r.Hardware = heard(s.Product), heard(s.Hardware)
	r.Settled = versions(s)
	// One that became permanent since is no version that it went back from.
	r.Tried = slices.DeleteFunc(slices.Clone(tried), func(v string) bool { return v == r.Running })
	if len(r.Tried) == 0 {
		r.Tried = nil
	}
}

// row is the device as lists show it, but for when it was seen. elsewhere says that another panel has its link.
func row(r *Record, rev int64, l Link, elsewhere bool, rollout string) view.Device {
	d := view.Device{
		ID: r.ID, Name: r.Name, Site: r.Site, Tags: r.Tags, Product: r.Product, Hardware: r.Hardware,
		Online: l.Online || elsewhere, Rollout: rollout, Rev: rev,
	}
	if d.Tags == nil {
		d.Tags = []string{}
	}
	v := r.Settled
	status := l.Status
	if !l.Online {
		status = nil // of before; the record has what was settled
	}
	if status != nil {
		v = versions(status)
		d.Product, d.Hardware = heard(status.Product), heard(status.Hardware)
		d.Streams = pictures(status.Streams)
	}
	d.Running, d.Slot, d.Staged, d.Previous, d.System, d.Runtime = v.Running, v.Slot, v.Staged, v.Previous, v.System, v.Runtime
	d.Stale = !d.Online
	d.State = state(&d, status)
	return d
}
