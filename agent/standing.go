package agent

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
	"slipstream/verify"
)

// streams are those of a run, as the forwarder must know them; of a refused one it
// is enough to know the names.
func (a *Agent) streams(r *run) (out []orders.Stream) {
	if r.refused != nil {
		v := a.state.version(r.slot)
		for i, name := range v.Streams {
			out = append(out, orders.Stream{Name: name, Codec: v.codec(i)})
		}
		return out
	}
	t := a.state.Trial
	returning := t.Return != "" && r.source == t.Source // it could not know what the newer one would promise
	for _, s := range r.manifest.App.Streams {
		declared := a.stream(s)
		declared.Breaks = slices.Contains(r.manifest.App.Breaks, s.Name) || returning
		out = append(out, declared)
	}
	return out
}

// envelope is what viewers of a declared stream rely on.
func envelope(s verify.Stream) orders.Stream {
	return orders.Stream{Name: s.Name, Codec: s.Codec, Width: s.Width, Height: s.Height, Profile: s.Profile, Audio: s.Audio}
}

// stream is a declared stream in the forwarder's words.
func (a *Agent) stream(s verify.Stream) orders.Stream {
	out := envelope(s)
	out.StallMS = max(s.StallMS, a.cfg.Stream.StallMS)
	// Sound may fall silent by design (DTX), so only a limit of its own holds for it.
	if s.Events || s.Sound() && s.StallMS == 0 {
		out.StallMS = 0
	}
	for _, i := range tightenStream(a.cfg.Tighten, s) {
		out.Invariants = append(out.Invariants, orders.Invariant{
			Name: i.Name, Measure: i.Measure, Against: i.Against, Min: i.Min, Max: i.Max,
			WindowMS: i.Window().Milliseconds(), Required: i.Required(),
		})
	}
	return out
}

// sendOrders fills in what the core does not know: versions, streams, pidfds. Of a
// source that was refused nothing runs, nor will be started. It is named all the
// same, because the forwarder closes streams that nobody has, with their viewers.
func (a *Agent) sendOrders(e SendOrders) {
	o := orders.Orders{Trial: e.Trial}
	var fds []int
	for _, source := range e.Sources {
		slot, _, _ := strings.Cut(string(source), "-")
		r := a.plan(source, slot)
		s := orders.Source{
			ID: source, Version: r.version.Version, UID: a.users.uid(slot), Streams: a.streams(r), Frozen: source == e.Frozen,
			KeyWishes: r.manifest.App != nil && r.manifest.App.PublishRTSP,
		}
		if len(s.Streams) == 0 {
			continue
		}
		if r.process != nil && r.process.Pidfd() >= 0 {
			fds = append(fds, r.process.Pidfd())
			s.Pidfd = len(fds)
		}
		if r.group != nil {
			if fd := r.group.Freezer(); fd >= 0 {
				defer unix.Close(fd) // when it is sent
				fds = append(fds, fd)
				s.Freezer = len(fds)
			}
		}
		o.Sources = append(o.Sources, s)
		if source == e.Permanent {
			o.Permanent = source
		}
	}
	a.forward.ask(question{Request: orders.Request{Orders: &o}}, fds...)
}
