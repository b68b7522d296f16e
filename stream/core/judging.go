package core

import (
	"slices"

	"slipstream/stream/orders"
)

// judging is the judgement of a trial's invariants, from the switch on.
type judging struct {
	trial      orders.TrialID
	invariants []*invariant
	next       int64 // step at whose beginning something may be due
	late       lateness
}

// lateness remembers the steps in which the forwarder woke late: gaps that ended in
// them are its own.
type lateness struct {
	steps [tapeCells]int64
}

func (l *lateness) mark(from, to int64) {
	for step := max(from, to-tapeCells+1); step <= to; step++ {
		l.steps[step%tapeCells] = step
	}
}

func (l *lateness) marked(step int64) bool { return l.steps[step%tapeCells] == step }

// beginJudging begins with the invariants of the trial that has just taken over.
func (c *Core) beginJudging(now int64) {
	j := &judging{trial: c.trial.id, next: now/fineStep + 1}
	for _, s := range c.sources[c.trial.source].spec.Streams {
		for _, spec := range s.Invariants {
			j.invariants = append(j.invariants, newInvariant(spec, s.Name, now))
		}
	}
	c.judgement = j
}

// judging is the judgement of the trial that carries the streams; nil: there is none.
func (c *Core) judging() *judging {
	if j := c.judgement; j != nil && j.trial == c.trial.id && len(j.invariants) > 0 {
		return j
	}
	return nil
}

// due is when judging has something to do.
func (j *judging) due() int64 {
	if j == nil {
		return never
	}
	return j.next * fineStep
}

// judge gives the verdicts that are due, and reverts the trial at the first required
// invariant that is broken by them.
func (c *Core) judge(now int64) {
	j := c.judging()
	if j == nil || now < j.due() {
		return
	}
	step, late := now/fineStep, now-j.due() > int64(lateTimer)
	if late || slices.ContainsFunc(j.invariants, func(i *invariant) bool { return i.due(step) }) {
		c.readAll(now) // we may be the late one: what is there counts
	}
	if late {
		j.late.mark(j.next-1, c.now()/fineStep)
	}
	j.next = step + 1
	for _, i := range j.invariants {
		if c.judging() != j {
			return // the trial is over
		}
		if !i.due(step) || late && i.late(step) {
			continue
		}
		verdict, machine := c.verdict(i, step)
		if i.judge(verdict, step, machine) {
			c.broken(i, now)
		}
	}
}

// readAll takes what the publishers of both versions have sent by now.
func (c *Core) readAll(now int64) {
	for _, id := range []orders.SourceID{c.trial.source, c.permanent} {
		if src := c.sources[id]; src != nil {
			for _, l := range src.lines {
				if l.alive() {
					l.ready(c, now)
				}
			}
		}
	}
}

func (c *Core) broken(i *invariant, now int64) {
	if i.Required {
		c.revert(orders.CauseInvariant+i.stream+"."+i.Name, i.sentence(), now)
		return
	}
	v := i.verdict
	c.log.Warn("an invariant that is not required is broken", "stream", i.stream, "invariant", i.Name, "detail", i.sentence())
	c.tell(orders.Message{Breaking: &v})
}

// verdict is on the window that ends at a step. The machine is to blame if the
// permanent source, which shows the same seconds, does not keep the bound either.
func (c *Core) verdict(i *invariant, step int64) (v orders.Verdict, machine bool) {
	from := step - i.steps
	shown, size := silence(i.steps), picture{} // of a sound that did not come
	if l := c.sources[c.trial.source].lines[i.stream]; l != nil {
		shown, size = l.meter.window(from, step, c.judgement.late.marked), l.picture()
	}
	base := c.baseline(i, shown, from, step)
	if i.Against == orders.AgainstNothing && base.kind == basePermanent {
		machine = !i.compare(base.shown, base.picture, baseline{}).Holds
	}
	return i.compare(shown, size, base), machine
}

// baseline finds what the permanent version shows in the same seconds, or has shown
// before it was gone.
func (c *Core) baseline(i *invariant, own stretch, from, to int64) baseline {
	var l *line
	if src := c.sources[c.permanent]; src != nil {
		l = src.lines[i.stream]
	}
	if l != nil && l.alive() && !l.source.frozen() && l.meter.since != 0 && l.meter.since <= from*fineStep {
		shown := l.meter.window(from, to, c.judgement.late.marked)
		if shown.frames > 0 || own.frames == 0 {
			return baseline{basePermanent, shown, l.picture()}
		}
	}
	if tape, size := c.pastOf(c.streams[i.stream], l); tape != nil {
		if shown, enough := tape.history(i.steps * fineStep); enough {
			return baseline{baseHistory, shown, size}
		}
	}
	return baseline{}
}

// verdicts tell how the invariants stand.
func (c *Core) verdicts() (all []orders.Verdict) {
	j := c.judging()
	if j == nil {
		return nil
	}
	for _, i := range j.invariants {
		all = append(all, i.verdict)
	}
	return all
}

// mayCommit says whether all required invariants hold at this moment, over whole
// windows. Evidence that is missing is no evidence: then it reports false, and why.
func (c *Core) mayCommit(now int64) (ok bool, why string) {
	c.judge(now)
	c.readAll(now)
	j := c.judging()
	if j == nil {
		return true, "" // if the trial ended just now, the caller sees that
	}
	for _, i := range j.invariants {
		name := i.stream + "." + i.Name
		switch v, _ := c.verdict(i, now/fineStep); {
		case !i.Required:
		case !i.verdict.Judged:
			return false, "invariant " + name + " was not judged over a whole window yet"
		case !i.verdict.Holds || !v.Holds:
			return false, "invariant " + name + " does not hold at the moment"
		}
	}
	return true, ""
}

func (l *line) picture() picture { return picture{int64(l.params.width) * int64(l.params.height)} }
