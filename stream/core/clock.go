package core

import "time"

const (
	videoRate = 90_000 // Hz: RTP clock of every video format, RFC 3551 §5

	// maxClockLead and maxClockLag bound what a publisher may say of its capture
	// time against the forwarder's own clock.
	maxClockLead = 100 * time.Millisecond
	maxClockLag  = 5 * time.Second

	// maxClockJump is how far a frame's mapped capture time may lie from its
	// arrival before the mapping starts anew.
	maxClockJump = 6 * time.Second
)

// captureClock maps one line's RTP time to CLOCK_MONOTONIC. With the publisher's
// capture clock it is exact; without, arrival times stand in: the earliest
// arrival counts, and a slow leak follows a publisher whose clock runs off.
type captureClock struct {
	set    bool
	told   bool // the publisher sends its capture clock
	ts     uint32
	mono   int64
	resets uint64
}

// tell takes a capture clock message; it reports false for one out of bounds.
func (c *captureClock) tell(ts uint32, mono, now int64) bool {
	if mono > now+int64(maxClockLead) || mono < now-int64(maxClockLag) {
		return false
	}
	c.set, c.told, c.ts, c.mono = true, true, ts, mono
	return true
}

// at returns the capture time of a frame with RTP time ts, on a clock of so many
// Hz, that arrives now.
func (c *captureClock) at(ts uint32, rate, now int64) int64 {
	if !c.set {
		c.set, c.ts, c.mono = true, ts, now
		return now
	}
	mono := c.mono + int64(int32(ts-c.ts))*int64(time.Second)/rate
	if off := now - mono; off > int64(maxClockJump) || off < -int64(maxClockJump) {
		c.resets++
		mono = now
	} else if !c.told {
		if off < 0 {
			mono = now
		} else {
			mono += off / 1024
		}
	}
	// A clock that runs ahead would leave viewers' times ahead when it is gone.
	mono = min(mono, now+int64(maxClockLead))
	c.ts, c.mono = ts, mono
	return mono
}

// ticks is a capture time in RTP units of so many Hz. All sources of a device share
// the clock, so a viewer's times go on over every switch and never drift.
func ticks(mono, rate int64) uint32 {
	const second = int64(time.Second)
	return uint32(mono/second*rate + mono%second*rate/second)
}

// steadyFor is how far sound's times may lie from the capture clock. Within it they
// count samples, because players hear each correction as a gap.
const steadyFor = 10 * time.Millisecond

// steadyClock makes the capture times of sound count its samples, in place of
// following each packet's own mapping.
type steadyClock struct {
	set  bool
	ts   uint32
	mono int64
}

// at returns the time of a packet with RTP time ts whose mapping is mono. As long
// as the two are close, packets that follow each other on the RTP clock do so to
// the tick.
func (c *steadyClock) at(ts uint32, rate, mono int64) int64 {
	if seconds := int64(int32(ts-c.ts)) / rate; seconds > 0 { // which are whole ticks
		c.ts += uint32(seconds * rate)
		c.mono += seconds * int64(time.Second)
	}
	counted := c.mono + int64(int32(ts-c.ts))*int64(time.Second)/rate
	if off := mono - counted; !c.set || off > int64(steadyFor) || off < -int64(steadyFor) {
		c.set, c.ts, c.mono = true, ts, mono
		return mono
	}
	return counted
}
