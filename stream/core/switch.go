package core

import (
	"slices"
	"time"

	"slipstream/stream/orders"
)

const (
	// trialKeyFrames is how often every living source is asked for a key frame
	// while a trial runs, so that a revert never has much to send again: half of it
	// and half of what an encoder takes to answer at the median.
	trialKeyFrames = keyWish

	// switchPatience is how long a switch waits for fresh key frames on all of a
	// source's streams at once before it takes older ones.
	switchPatience = 2 * time.Second

	// latePatience is how many frame intervals a switch waits for frames of the
	// old version that are late.
	latePatience = 5
)

// reversion is a revert under way: viewers of some streams still wait for the
// old version's key frame.
type reversion struct {
	report orders.Reverted
	wait   []*stream
	left   []*stream // given up: they have no source now
	reqs   []uint64  // requests of the agent that are answered when it is done
}

// trySwitch follows the trial's source once every stream of it can be followed.
func (c *Core) trySwitch(now int64) {
	if c.trial.phase != armed {
		return
	}
	src := c.sources[c.trial.source]
	fresh, oldest := true, now
	for _, spec := range src.spec.Streams {
		l := src.lines[spec.Name]
		if l == nil || !l.alive() {
			return
		}
		if l.codec.sound() {
			if !audible(l, &spec, c.trial.armedAt) {
				return
			}
			continue
		}
		if !l.arena.hasKey {
			return
		}
		key := l.arena.unit(l.arena.key).arrival
		if key < c.trial.armedAt {
			return
		}
		if !shownUpTo(c.streams[spec.Name].followed, l, now) {
			return
		}
		fresh, oldest = fresh && short(l, now), min(oldest, key)
	}
	if !fresh && now-oldest < int64(switchPatience) {
		return
	}
	c.trial.phase = switched
	event := orders.Switched{Trial: c.trial.id, Source: c.trial.source, At: now}
	for _, spec := range src.spec.Streams {
		s := c.streams[spec.Name]
		s.want = src.spec.ID
		event.Streams = append(event.Streams, c.follow(s, src.lines[spec.Name]))
	}
	event.Done = c.now()
	c.beginJudging(now)
	c.log.Info("viewers are on the trial's version", "trial", event.Trial, "version", src.spec.Version)
	c.tell(orders.Message{Switch: &event})
}

// shownUpTo says that viewers have seen the old line's frames up to the new
// line's key frame. An old version that delivers a little later than the new one
// would lose its last frames otherwise; it is waited for a few frame intervals.
func shownUpTo(old, l *line, now int64) bool {
	if old == nil || !old.alive() || old.frames == 0 {
		return true
	}
	key := l.arena.unit(l.arena.key)
	interval := old.frameInterval()
	return old.lastCapture+interval*3/2 >= key.capture || now-key.arrival > latePatience*interval
}

// revert ends the trial: viewers go back to the permanent source, from its last
// key frame on. It is over when all of them are there, which tellReverted says.
func (c *Core) revert(cause, detail string, now int64) { c.revertSeen(cause, "", detail, now) }

// revertSeen is revert for what one of the ways to see a death has shown.
func (c *Core) revertSeen(cause, by, detail string, now int64) {
	c.finishReverting() // an earlier trial's, if viewers still wait for a key frame
	t := c.trial
	c.reversion = &reversion{report: orders.Reverted{
		Trial: t.id, Source: c.permanent, Cause: cause, By: by, Detail: detail, Detected: now, Switched: t.carries(),
		Verdicts: c.verdicts(),
	}}
	c.standing.revert(c.reversion.report)
	c.thaw(c.sources[c.permanent], now)
	c.log.Warn("trial reverts", "trial", t.id, "cause", cause, "by", by, "detail", detail)
	if t.carries() {
		c.firstOut = 0
		for _, s := range c.streams {
			if s.want == t.source {
				c.turn(s, c.permanent, now)
				c.reversion.wait = append(c.reversion.wait, s)
			}
		}
		slices.SortFunc(c.reversion.wait, soundLast) // it follows its picture
	}
	c.goOnReverting(now)
}

// goOnReverting moves the viewers who can be moved by now.
func (c *Core) goOnReverting(now int64) {
	r := c.reversion
	if r == nil {
		return
	}
	left := r.wait[:0]
	for _, s := range r.wait {
		switch done, hope, report := c.settled(s, now); {
		case done:
			r.report.Streams = append(r.report.Streams, report)
		case hope:
			left = append(left, s)
		default:
			r.giveUp(s, now)
		}
	}
	if r.wait = left; len(left) == 0 {
		c.finishReverting()
	}
}

// giveUp notes a stream that has no source now: its sessions are held, and the
// source's next key frame continues them.
func (r *reversion) giveUp(s *stream, now int64) {
	r.report.Streams = append(r.report.Streams, s.held(now))
	r.left = append(r.left, s)
	if !s.codec.sound() {
		r.report.Source = ""
	}
}

// finishReverting reports the reversion that is under way as it stands.
func (c *Core) finishReverting() {
	r := c.reversion
	if r == nil {
		return
	}
	for _, s := range r.wait {
		r.giveUp(s, c.now())
	}
	r.report.First, r.report.Done = max(c.firstOut, 0), c.now()
	c.firstOut = -1
	c.reversion = nil
	if len(r.left) > 0 {
		c.amendment = &amendment{r.report, r.left}
		c.amendment.report.Streams = slices.Clone(r.report.Streams)
		c.firstOut = 0
	}
	c.ended.add(ending{Reverted: r.report})
	c.tell(orders.Message{Revert: &r.report})
	for _, req := range r.reqs {
		c.tell(orders.Message{Req: req, Result: orders.ResultReverted, Revert: &r.report})
	}
}

// markFirst notes when the first packet of a revert went out.
func (c *Core) markFirst() {
	if c.firstOut == 0 {
		c.firstOut = c.now()
	}
}

// judgeStalls reverts the trial if one of its lines has been silent too long.
func (c *Core) judgeStalls(now int64) {
	if !c.trial.carries() {
		return
	}
	src := c.sources[c.trial.source]
	for _, spec := range src.spec.Streams {
		l := src.lines[spec.Name]
		if l == nil || !l.alive() || spec.StallMS <= 0 {
			continue
		}
		other := c.other(l)
		limit := c.stallLimit(l, other, now)
		if now < l.stall.due(limit) {
			continue
		}
		l.ready(c, now) // we may be the late one: read what is there first
		if !c.trial.carries() {
			return
		}
		now = c.now()
		silent := other != nil && other.alive() && !other.source.frozen() && now-other.lastUnit > limit
		if l.stall.verdict(now, limit, silent) {
			c.revertSeen(orders.CauseStall, orders.ByStall, "stream "+spec.Name+" sent no frame for "+
				time.Duration(now-l.lastUnit).Round(time.Millisecond).String(), now)
			return
		}
	}
}

func (c *Core) stallLimit(l, other *line, now int64) int64 {
	longest := l.gaps.longest(now)
	if other != nil {
		longest = max(longest, other.gaps.longest(now))
	}
	return stallLimit(time.Duration(l.spec.StallMS)*time.Millisecond, longest)
}

// wishTrialKeys asks every living source for key frames while a trial runs.
func (c *Core) wishTrialKeys(now int64) {
	if c.trial.phase == steady || now < c.nextWish {
		return
	}
	c.nextWish = now + int64(trialKeyFrames)
	for _, src := range c.sources {
		for _, l := range src.lines {
			l.wishKey(now)
		}
	}
}
