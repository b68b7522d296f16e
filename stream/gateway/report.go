package gateway

import (
	"time"

	"github.com/pion/rtcp"

	"slipstream/stream/publish"
)

const (
	videoRate = 90_000 // RTP clock of every video format, RFC 3551 §5

	// reportEvery is the time between two sender reports to a viewer.
	reportEvery = 2 * time.Second

	// ntpEpoch is 1970 on NTP's clock, which counts seconds from 1900.
	ntpEpoch = 2_208_988_800
)

// reporter counts what a viewer was sent and says, in sender reports (RFC 3550
// §6.4.1), at which wall-clock time it was captured.
type reporter struct {
	rate            uint32 // of the RTP clock
	packets, octets uint32
	last            time.Time
}

// before counts a packet that is to be sent, and returns a report when one is due
// before it: before the very first one, since players that learn only later how
// picture and sound belong together jump when they do.
func (r *reporter) before(ssrc, timeBase uint32, pkt []byte) *rtcp.SenderReport {
	defer func() {
		r.packets++
		r.octets += uint32(len(pkt) - rtpHeader)
	}()
	now := time.Now()
	if now.Sub(r.last) < reportEvery {
		return nil
	}
	r.last = now
	return &rtcp.SenderReport{
		SSRC: ssrc, NTPTime: ntp(now), RTPTime: timeBase + ticks(publish.Monotonic(), r.rate),
		PacketCount: r.packets, OctetCount: r.octets,
	}
}

// ticks is a capture time in RTP units, as the forwarder counts it.
func ticks(mono time.Duration, rate uint32) uint32 {
	whole, rest := uint64(mono/time.Second), uint64(mono%time.Second)
	return uint32(whole*uint64(rate) + rest*uint64(rate)/uint64(time.Second))
}

// ntp is a wall-clock time in NTP's 32.32 fixed point.
func ntp(t time.Time) uint64 {
	seconds := uint64(t.Unix() + ntpEpoch)
	return seconds<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
