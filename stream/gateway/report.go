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
// §6.4.1), at which wall-clock time the pictures were captured.
type reporter struct {
	packets, octets uint32
	last            time.Time
}

// sent counts a packet and returns a report when one is due.
func (r *reporter) sent(ssrc, timeBase uint32, pkt []byte) *rtcp.SenderReport {
	r.packets++
	r.octets += uint32(len(pkt) - rtpHeader)
	now := time.Now()
	if now.Sub(r.last) < reportEvery {
		return nil
	}
	r.last = now
	return &rtcp.SenderReport{
		SSRC: ssrc, NTPTime: ntp(now), RTPTime: timeBase + ticks(publish.Monotonic()),
		PacketCount: r.packets, OctetCount: r.octets,
	}
}

// ticks is a capture time in RTP units, as the forwarder counts it.
func ticks(mono time.Duration) uint32 { return uint32(uint64(mono) * 9 / 100_000) }

// ntp is a wall-clock time in NTP's 32.32 fixed point.
func ntp(t time.Time) uint64 {
	seconds := uint64(t.Unix() + ntpEpoch)
	return seconds<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
