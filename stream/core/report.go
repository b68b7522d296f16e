package core

import (
	"encoding/binary"
	"time"

	"slipstream/stream/handover"
)

const consentExpiry = 30 * time.Second // RFC 7675 §5.1

// tendAtOnce is about how many viewers are tended in one go: the pictures of all wait
// meanwhile. tendGroups bounds how often that wakes the thread in a second.
const (
	tendAtOnce = 32
	tendGroups = 32
)

// tendSome tends a part of the viewers. Within a second each has its turn, unless they
// just become more.
func (c *Core) tendSome(now int64) {
	groups := min(1+(len(c.peers)+len(c.players))/tendAtOnce, tendGroups)
	c.nextTend = now + int64(time.Second)/int64(groups)
	c.tendRound++
	turn := func(v *viewer) bool { return v.place.number%groups == c.tendRound%groups }
	for _, p := range c.peers {
		if turn(&p.viewer) {
			c.tendPeer(p, now)
		}
	}
	for _, p := range c.players {
		if turn(&p.viewer) {
			c.tendPlayer(p, now)
		}
	}
}

// tendPeer ends a viewer whose consent has expired, or sends it a sender report.
func (c *Core) tendPeer(p *peer, now int64) {
	if now-p.consentAt > int64(c.config.Consent) {
		c.closeViewer(&p.viewer, handover.EndedConsent, "")
		return
	}
	p.tend(c, now)
}

// tend sends what a viewer is sent beside packets.
func (p *peer) tend(c *Core, now int64) {
	if p.fd < 0 {
		return
	}
	p.tellTime(c, now)
	if p.isLeg() && p.sent() == 0 {
		p.keepOpen(c)
	}
}

// tellTime sends a sender report, from the capture clock that all the streams of
// a device share.
func (p *peer) tellTime(c *Core, now int64) {
	for _, t := range p.tracks {
		if !t.begun {
			continue
		}
		sealed := p.local.sealRTCP(c.sealed[:0], t.report(c, now).append(c.plain[:0]), p.reports)
		p.reports++           // used up, sent or not
		_ = p.emit(c, sealed) // the next one is as good
	}
}

// report is the track's sender report as of now.
func (t *track) report(c *Core, now int64) senderReport {
	return senderReport{
		ssrc: t.ssrc, ntp: c.ntp(now), ts: t.base + ticks(now, t.rate),
		packets: uint32(t.packets), octets: uint32(t.octets),
	}
}

// cname names the forwarder's media. It is what the gateway's answers say.
const cname = "slipstream"

// senderReport is what a viewer needs to play several streams of one capture
// clock in step.
type senderReport struct {
	ssrc            uint32
	ntp             uint64
	ts              uint32
	packets, octets uint32
}

// append adds the report and the source's description, which go together
// (RFC 3550 §6.4.1, §6.5).
func (r senderReport) append(dst []byte) []byte {
	dst = append(dst, 0x80, rtcpSender, 0, 6)
	dst = binary.BigEndian.AppendUint32(dst, r.ssrc)
	dst = binary.BigEndian.AppendUint64(dst, r.ntp)
	dst = binary.BigEndian.AppendUint32(dst, r.ts)
	dst = binary.BigEndian.AppendUint32(dst, r.packets)
	dst = binary.BigEndian.AppendUint32(dst, r.octets)

	const item = 2 + len(cname)
	const chunk = 4 + (item/4+1)*4 // ends with at least one zero
	dst = append(dst, 0x81, rtcpSource, 0, byte(chunk/4))
	dst = binary.BigEndian.AppendUint32(dst, r.ssrc)
	dst = append(dst, 1, byte(len(cname)))
	dst = append(dst, cname...)
	return append(dst, make([]byte, chunk-4-item)...)
}

// ntpTime is a time in nanoseconds since 1970 as RFC 3550 §4 has it.
func ntpTime(ns int64) uint64 {
	const since1900 = 2_208_988_800
	sec, frac := uint64(ns/1e9)+since1900, uint64(ns%1e9)
	return sec<<32 | frac<<32/1e9
}
