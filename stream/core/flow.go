package core

import (
	"errors"

	"golang.org/x/sys/unix"
)

// flow is both ways of a stream socket, as plain data.
//
// A process that dies between a write and its note leaves the next one in doubt
// about what the far side got, and a byte too many or too few would garble the rest
// of the stream. So the write is noted before it is tried, with all that its result
// will change; and how much of it was taken, the connection itself says.
type flow struct {
	in   inflow
	kept outflow

	counts  bool   // the connection counts
	start   uint64 // what it had counted when it was taken
	written uint64 // bytes since then
	tried   attempt
}

// attempt is a write whose result is not yet noted, and what was before it.
type attempt struct {
	open    bool  // set last, cleared last
	number  int32 // of the track whose unit is written; −1: what is kept
	from    int32 // of what is kept
	written uint64

	packet                 uint32 // of the track, as all that follows
	index, packets, octets uint64
}

// countFrom takes a connection as it is now.
func (f *flow) countFrom(fd int) { f.start, f.counts = countWritten(fd) }

// countWritten is how many bytes have ever been written on a TCP connection: those
// that the far side has said it has, and those that it has not.
func countWritten(fd int) (n uint64, ok bool) {
	const tries = 100 // the far side may speak in between
	for range tries {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return 0, false
		}
		queued, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		if err != nil {
			return 0, false
		}
		again, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return 0, false
		}
		if again.Bytes_acked == info.Bytes_acked {
			return info.Bytes_acked + uint64(queued), true
		}
	}
	return 0, false
}

// flush writes what is kept; EAGAIN says that some of it is left.
func (f *flow) flush(fd int) unix.Errno {
	for !f.kept.empty() {
		f.tried = attempt{number: -1, from: f.kept.from, written: f.written}
		f.tried.open = true
		n, errno := sendStream(fd, f.kept.buf[f.kept.from:f.kept.to])
		f.kept.from += int32(n)
		f.written += uint64(n)
		f.tried.open = false
		if errno != 0 && errno != eintr {
			return errno
		}
	}
	return 0
}

// try notes that what is left of a unit is about to be written.
func (f *flow) try(t *track, number int) {
	f.tried = attempt{
		number: int32(number), from: f.kept.from, written: f.written,
		packet: t.packet, index: t.index, packets: t.packets, octets: t.octets,
	}
	f.tried.open = true
}

// undo puts a track back to where it was before the attempt.
func (a *attempt) undo(t *track) {
	t.packet, t.index, t.packets, t.octets = a.packet, a.index, a.packets, a.octets
}

var errUncounted = errors.New("what was written on its connection cannot be told")

// lost is how many bytes of the last attempt were taken before they could be noted.
func (f *flow) lost(fd int) (n int, err error) {
	before := f.written
	if f.tried.open {
		before = f.tried.written
	}
	total, ok := countWritten(fd)
	switch {
	case !f.counts && !f.tried.open:
		return 0, nil
	case !f.counts || !ok || total-f.start < before || total-f.start-before > maxUnitBytes || !f.tried.open && total-f.start != before:
		return 0, errUncounted
	}
	return int(total - f.start - before), nil
}

// mend notes what an attempt of the process before has come to, if it was what is
// kept that was written.
func (f *flow) mend(n int) error {
	if f.tried.open && f.tried.number < 0 {
		if n > int(f.kept.to-f.tried.from) {
			return errUncounted
		}
		f.kept.from = f.tried.from + int32(n)
	}
	f.noted(n)
	return nil
}

// noted ends an attempt.
func (f *flow) noted(n int) {
	if f.tried.open {
		f.written = f.tried.written + uint64(n)
		f.tried.open = false
	}
}

// mendFlow goes on with a connection where the process before has left it, which may
// be in the middle of a write.
func (p *player) mendFlow(c *Core) error {
	n, err := p.lost(p.fd)
	if err != nil || !p.tried.open || p.tried.number < 0 {
		return errors.Join(err, p.mend(n))
	}
	if int(p.tried.number) >= len(p.tracks) {
		return errUncounted
	}
	t := p.tracks[p.tried.number]
	p.tried.undo(t)
	p.kept.from, p.kept.to = 0, 0 // as it was, or the unit had waited
	if n == 0 {
		p.noted(0)
		return nil
	}
	if t.line == nil {
		return errUncounted // it was on a line whose memory is lost
	}
	c.gather(t, t.line.arena.unit(t.unit), p.channels[p.tried.number])
	if p.took(c, t, n) != n {
		return errUncounted
	}
	return nil
}
