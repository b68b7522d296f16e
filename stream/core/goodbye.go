package core

import (
	"encoding/binary"
	"unicode/utf8"
)

// maxWhy is what fits into a BYE (RFC 3550 §6.6).
const maxWhy = 255

// goodbye is the last word of a track: that nothing more comes, and why, if there is
// more to say than that. Players that have no place for the reason skip it.
func (t *track) goodbye(c *Core, why string, dst []byte) []byte {
	dst = t.report(c, c.now()).append(dst)
	for len(why) > maxWhy {
		_, last := utf8.DecodeLastRuneInString(why)
		why = why[:len(why)-last]
	}
	begin := len(dst)
	dst = append(dst, 0x81, rtcpBye, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, t.ssrc)
	if why != "" {
		dst = append(append(dst, byte(len(why))), why...)
	}
	for len(dst)%4 != begin%4 {
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint16(dst[begin+2:], uint16((len(dst)-begin)/4-1))
	return dst
}

// sayGoodbye tells a WebRTC viewer why it is sent nothing more. Whoever has said
// goodbye itself, or has not been heard of, is told nothing. From then on its checks are
// not answered either.
func (p *peer) sayGoodbye(c *Core, why string) {
	if why == "" {
		return
	}
	for _, t := range p.tracks {
		sealed := p.local.sealRTCP(c.sealed[:0], t.goodbye(c, why, c.plain[:0]), p.reports)
		p.reports++           // used up, sent or not
		_ = p.emit(c, sealed) // lost: the gateway knows it, too
	}
}

// sayGoodbye tells a viewer over UDP that nothing more comes. Over TCP the end of the
// connection says so; if there is a reason, it goes in front of that, unless something is
// half written.
func (p *player) sayGoodbye(c *Core, why string) {
	for i, t := range p.tracks {
		switch {
		case p.paths != nil:
			_ = sendDatagram(p.paths[i].rtcp.fd, t.goodbye(c, why, c.plain[:0])) // it may be gone already
		case why != "" && p.blockedAt == 0 && p.kept.empty():
			framed := t.goodbye(c, why, append(c.plain[:0], '$', p.channels[i]+1, 0, 0))
			binary.BigEndian.PutUint16(framed[2:], uint16(len(framed)-interleavedHeader))
			if n, _ := sendStream(p.fd, framed); n < len(framed) {
				return // it is full, and ends in the middle
			}
		}
	}
}
