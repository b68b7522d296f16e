package drive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
)

const (
	maxRefusals = 100 // that are listed
	maxSample   = 5
)

// brought is what a plan needs to know of its releases.
type brought struct {
	plan     view.Plan
	releases map[string]view.Release
	selector fleet.Selector
	waves    map[string]fleet.Selector // by their text
}

// bring looks the plan's releases and selectors up, and refuses what makes no sense.
func (d *Driver) bring(ctx context.Context, plan view.Plan) (brought, error) {
	b := brought{plan: plan, releases: map[string]view.Release{}, waves: map[string]fleet.Selector{}}
	if err := rollout.Check(plan); err != nil {
		return b, refuse("%v", err)
	}
	ids := []string{plan.Release}
	for _, t := range plan.Through {
		ids = append(ids, t.Release)
	}
	for _, id := range ids {
		rel, err := d.cfg.Release(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return b, refuse("the panel has no release %s", id)
		case err != nil:
			return b, err
		case rel.Withdrawn:
			return b, refuse("release %s (%s) is withdrawn", id, rel.Version)
		}
		b.releases[id] = rel
	}
	var err error
	if b.selector, err = fleet.ParseSelector(plan.Selector); err != nil {
		return b, refuse("the selector: %v", err)
	}
	for i, w := range plan.Waves {
		s, err := fleet.ParseSelector(w.Selector)
		if err != nil {
			return b, refuse("the selector of wave %d: %v", i+1, err)
		}
		b.waves[w.Selector] = s
	}
	return b, nil
}

func (b *brought) targets() map[string]wire.Target {
	targets := map[string]wire.Target{}
	for id, rel := range b.releases {
		targets[id] = targetOf(rel)
	}
	return targets
}

func targetOf(rel view.Release) wire.Target {
	return wire.Target{Digest: rel.Digest, URL: "/v1/releases/" + rel.ID, Version: rel.Version, Counter: rel.Counter}
}

// unfit says why a release is not for a device; "" if it may be. What a device has not
// said of itself yet it judges itself.
func unfit(rel view.Release, d *view.Device) string {
	switch {
	case d.Product != "" && rel.Product != "" && d.Product != rel.Product:
		return fmt.Sprintf("it is a %s, and version %s is for %s", d.Product, rel.Version, rel.Product)
	case d.Hardware != "" && len(rel.Hardware) > 0 && !slices.Contains(rel.Hardware, d.Hardware):
		return fmt.Sprintf("its hardware is %s, and version %s is for %s", d.Hardware, rel.Version, strings.Join(rel.Hardware, ", "))
	}
	return ""
}

// runs is the version of a device that a release would replace.
func runs(rel view.Release, d *view.Device) string {
	switch {
	case slices.Contains(rel.Classes, "live") || len(rel.Classes) == 0:
		return d.Running
	case slices.Contains(rel.Classes, "system"):
		return d.System
	}
	return d.Runtime
}

// steps are the releases that a device takes one after the other.
func (b *brought) steps(d *view.Device) []string {
	last := b.releases[b.plan.Release]
	has := runs(last, d)
	through := slices.Clone(b.plan.Through)
	slices.SortStableFunc(through, func(x, y view.Through) int { return fleet.CompareVersions(x.Below, y.Below) })
	var steps []string
	for _, t := range through {
		rel := b.releases[t.Release]
		if has == "" || t.Release == last.ID || fleet.CompareVersions(has, t.Below) >= 0 || fleet.CompareVersions(has, rel.Version) >= 0 {
			continue
		}
		steps = append(steps, t.Release)
		has = rel.Version
	}
	return append(steps, b.plan.Release)
}

// member makes a member of a device, or says why it cannot be one.
func (d *Driver) member(b *brought, dev *view.Device) (m rollout.Member, why string) {
	m = rollout.Member{Device: dev.ID, Site: dev.Site, Tags: dev.Tags, From: dev.Running, Steps: b.steps(dev)}
	for _, id := range m.Steps {
		if why := unfit(b.releases[id], dev); why != "" {
			return m, why
		}
	}
	last := b.releases[b.plan.Release]
	m.Has = last.Version != "" && runs(last, dev) == last.Version
	if d.cfg.Zone != nil {
		m.Zone = d.cfg.Zone(dev.ID)
	}
	return m, ""
}

// chosen is whom a plan would bring its release to.
type chosen struct {
	members []rollout.Member
	refused []view.Refusal
}

// choose freezes the plan's selection: whoever meets it now, and in which wave. Busy tells
// by which rollout a device is held.
func (d *Driver) choose(b *brought, busy func(device string) string, now time.Time) chosen {
	var c chosen
	devices := map[string]*view.Device{}
	for _, dev := range d.cfg.Fleet.Select(b.selector, now) {
		m, why := d.member(b, dev)
		if by := busy(dev.ID); why == "" && by != "" {
			why = "it is in " + by + ", which has not ended"
		}
		if why != "" {
			c.refused = append(c.refused, view.Refusal{Device: dev.ID, Why: why})
			continue
		}
		devices[dev.ID] = dev
		c.members = append(c.members, m)
	}
	ids := make([]string, len(c.members))
	for i, m := range c.members {
		ids[i] = m.Device
	}
	waves := rollout.Divide(b.plan.Waves, ids, func(selector, id string) bool {
		return b.waves[selector].Meets(devices[id], now)
	})
	for i := range c.members {
		c.members[i].Wave = waves[c.members[i].Device]
	}
	return c
}

// preview counts.
func (c *chosen) preview(b *brought) view.Preview {
	p := view.Preview{
		Release: b.plan.Release, Version: b.releases[b.plan.Release].Version, Devices: len(c.members),
		Waves: make([]view.PreviewWave, len(b.plan.Waves)), Refused: []view.Refusal{}, RefusedTotal: len(c.refused),
	}
	for i, w := range b.plan.Waves {
		p.Waves[i] = view.PreviewWave{Name: w.Name, Sample: []string{}}
	}
	for _, m := range c.members {
		w := &p.Waves[m.Wave]
		w.Devices++
		if len(w.Sample) < maxSample {
			w.Sample = append(w.Sample, m.Device)
		}
		if m.Has {
			p.Has++
		}
		if len(m.Steps) > 1 {
			p.Through++
		}
	}
	p.Refused = append(p.Refused, c.refused[:min(len(c.refused), maxRefusals)]...)
	return p
}
