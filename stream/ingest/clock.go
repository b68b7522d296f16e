package ingest

import "time"

const (
	// clockTold is how often the forwarder is told of the capture clock, and how far
	// that may move before it is told at once.
	clockTold  = time.Second
	clockMoved = time.Millisecond

	// maxDelay is how long before its arrival a frame may have been captured: an
	// encoder that looks ahead was seen to take more than a second.
	maxDelay = 4 * time.Second

	// maxReportStep is how far two reports of one medium may disagree. More is the
	// publisher's wall clock that was set, and not the capture.
	maxReportStep = 100 * time.Millisecond

	// driftWindow is how long the shortest delay is looked for before it is compared
	// with the one before, and driftPart the share of the difference that is made good.
	driftWindow = 10 * time.Second
	driftPart   = 8
)

// sessionClock maps what one publisher's sender reports (RFC 3550 §6.4.1) say of
// capture to CLOCK_MONOTONIC. All its media share the offset, so they stay in
// step whatever their wall clock shows.
type sessionClock struct {
	set    bool
	offset time.Duration // from the publisher's wall clock

	usual  time.Duration // the shortest delay of a packet after its capture …
	lowest time.Duration // … and that of this window
	judged time.Duration // when the window began; 0: there is none yet
}

// mediumClock maps one medium's RTP time to its publisher's wall clock.
type mediumClock struct {
	rate int
	set  bool
	rtp  uint32
	wall time.Duration
	step time.Duration // by which the publisher's clock was set since

	early arrival // of packets before the session's first report

	told   time.Duration // when the forwarder was told last; 0: never, of what the reports say now
	offset time.Duration // the session's, as it was told
}

// arrival maps RTP time to CLOCK_MONOTONIC by the earliest packets, as the forwarder
// does without a capture clock.
type arrival struct {
	set  bool
	rtp  uint32
	mono time.Duration
}

// before takes a packet that comes now, before the session's first report.
func (m *mediumClock) before(rtp uint32, now time.Duration) {
	if e := &m.early; !e.set || m.byArrival(rtp) > now {
		*e = arrival{true, rtp, now}
	}
}

func (m *mediumClock) byArrival(rtp uint32) time.Duration {
	return m.early.mono + time.Duration(int64(int32(rtp-m.early.rtp))*int64(time.Second)/int64(m.rate))
}

// due says that the forwarder should be told of the capture clock.
func (m *mediumClock) due(offset, now time.Duration) bool {
	moved := offset - m.offset
	return m.told == 0 || now-m.told >= clockTold || moved > clockMoved || moved < -clockMoved
}

// report takes one sender report: at this time of the publisher's wall clock, the
// medium's RTP time was this.
func (m *mediumClock) report(wall time.Duration, rtp uint32) {
	wall -= m.step
	if m.set {
		if off := wall - m.at(rtp); off > maxReportStep || off < -maxReportStep {
			m.step += off
			wall -= off
		}
	}
	m.set, m.rtp, m.wall, m.told = true, rtp, wall, 0
}

func (m *mediumClock) at(rtp uint32) time.Duration {
	return m.wall + time.Duration(int64(int32(rtp-m.rtp))*int64(time.Second)/int64(m.rate))
}

// begin takes a session's first report, which is one of m. It believes that the
// publisher's wall clock is this machine's, unless packets have come before: those
// were given times by their arrival, and what they were given goes on.
func (s *sessionClock) begin(m *mediumClock, wall, mono time.Duration) {
	switch {
	case s.set:
		return
	case m.early.set:
		s.offset = m.byArrival(m.rtp) - m.wall
	default:
		s.offset = mono - wall
	}
	s.set = true
}

// captured is when the frame of a packet that arrives now was captured. Nothing
// arrives before it was captured: a publisher whose reports say so has counted
// from a later instant (ffmpeg: its start), and its whole session is moved. One
// whose packets are older than can be has another wall clock, and then the
// earliest arrival counts.
func (s *sessionClock) captured(m *mediumClock, rtp uint32, now time.Duration) time.Duration {
	delay := now - s.offset - m.at(rtp)
	if delay < 0 || delay > maxDelay {
		s.offset += delay
		delay, s.judged = 0, 0
	}
	s.follow(delay, now)
	return m.at(rtp) + s.offset
}

// follow makes good for a medium's clock that runs off: the shortest delay of a
// window is that of the pipeline, which stays.
func (s *sessionClock) follow(delay, now time.Duration) {
	if s.judged == 0 {
		s.judged, s.usual, s.lowest = now, maxDelay, delay
	}
	s.lowest = min(s.lowest, delay)
	if now-s.judged < driftWindow {
		return
	}
	if more := s.lowest - s.usual; more > 0 {
		s.offset += more / driftPart
	} else {
		s.usual = s.lowest
	}
	s.judged, s.lowest = now, maxDelay
}

// ntpEpoch is the Unix epoch in seconds of NTP (RFC 5905).
const ntpEpoch = 2_208_988_800

// wallTime is an NTP timestamp as time since the Unix epoch.
func wallTime(ntp uint64) time.Duration {
	seconds := int64(ntp>>32) - ntpEpoch
	return time.Duration(seconds*int64(time.Second) + int64(ntp&0xffffffff*uint64(time.Second)>>32))
}
