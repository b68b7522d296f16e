package core

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/stream/publish"
)

const (
	// burstPackets is how many packets the kernel cuts out of one message, at most
	// (UDP_MAX_SEGMENTS).
	burstPackets = 64

	// burstBytes is within what one message may have, whatever stands in front of it.
	burstBytes = 60 << 10
)

// burst is what one call gives to one viewer: packets of an access unit, each a
// datagram, one behind the other as they will be on the wire. Packets of one size go
// as one message, which the kernel cuts again (UDP_SEGMENT, "GSO"): it passes through
// routing, filters and queues once, which costs far more than the call does. The last
// one may be shorter, as the last fragment of a picture is. Where a socket or its
// way cannot do that, each packet is a message of its own.
type burst struct {
	segments bool // packets may be put together

	bytes [burstBytes]byte
	n     int                       // packets
	ends  [burstPackets + 1]int32   // ends[i]: where the packets before the i-th end in bytes
	paid  [burstPackets + 1]uint32  // paid[i]: what the packets before the i-th carry
	iov   [burstPackets]unix.Iovec  // of the i-th message, as all below
	first [burstPackets + 1]int32   // packet in it; one more says where the last message ends
	cuts  [burstPackets]cutMessage  // how the kernel cuts it
	calls [burstPackets]manyMessage // m of them
	m     int
}

// manyMessage is struct mmsghdr.
type manyMessage struct {
	msg  unix.Msghdr
	sent uint32
}

// cutMessage is a control message that says how long the packets in a message are.
type cutMessage struct {
	head unix.Cmsghdr
	size uint16
}

// cutLength is CMSG_LEN of that: what stands before the size has no gap behind it.
const cutLength = unix.SizeofCmsghdr + 2

func (b *burst) reset(segments bool) { b.n, b.m, b.segments = 0, 0, segments }

// room says that one more packet finds its place.
func (b *burst) room() bool {
	return b.n < burstPackets && burstBytes-int(b.ends[b.n]) >= publish.MaxPacket+srtpOverhead
}

// space is where the next packet is to be appended to.
func (b *burst) space() []byte { return b.bytes[b.ends[b.n]:b.ends[b.n]:burstBytes] }

// add makes what was appended to space the next packet.
func (b *burst) add(pkt []byte, payload int) {
	b.ends[b.n+1] = b.ends[b.n] + int32(len(pkt))
	b.paid[b.n+1] = b.paid[b.n] + uint32(payload)
	b.n++
}

func (b *burst) size(i int) int32 { return b.ends[i+1] - b.ends[i] }

// run is the end of the packets from one on that may go as one message.
func (b *burst) run(from int) int {
	to := from + 1
	if !b.segments {
		return to
	}
	for to < b.n && b.size(to) == b.size(from) {
		to++
	}
	if to < b.n && b.size(to) < b.size(from) {
		to++
	}
	return to
}

// address makes messages of the packets from one on.
func (b *burst) address(from int) {
	b.m = 0
	for from < b.n {
		to := b.run(from)
		b.message(from, to)
		from = to
	}
	b.first[b.m] = int32(from)
}

func (b *burst) message(from, to int) {
	i := b.m
	b.m++
	b.first[i] = int32(from)
	b.iov[i].Base = &b.bytes[b.ends[from]]
	b.iov[i].SetLen(int(b.ends[to] - b.ends[from]))
	call := &b.calls[i].msg
	call.Iov = &b.iov[i]
	call.SetIovlen(1)
	call.Control = nil
	call.SetControllen(0)
	if to == from+1 {
		return
	}
	cut := &b.cuts[i]
	cut.head.Level, cut.head.Type, cut.size = unix.SOL_UDP, unix.UDP_SEGMENT, uint16(b.size(from))
	cut.head.SetLen(cutLength)
	call.Control = (*byte)(unsafe.Pointer(cut))
	call.SetControllen(int(unsafe.Sizeof(*cut)))
}

// send gives all packets to the kernel and returns how many are done with: it took
// them, or the network refused them, and they are lost as others are. Full says that
// there is no room for the rest. A message that cannot be cut goes packet by packet,
// and so does all that follows.
func (b *burst) send(fd int) (done int, full bool) {
	const tries = 2 // an error may be about an earlier packet, which nobody waits for
	b.address(0)
	for at, tried := 0, 0; at < b.m; {
		n, errno := sendMany(fd, b.calls[at:b.m])
		switch {
		case n > 0:
			at += n
			tried = 0
		case errno == eintr:
		case errno == eagain:
			return int(b.first[at]), true
		case b.refusesCuts(at, errno):
			b.segments = false
			b.address(int(b.first[at]))
			at = 0
		default:
			if tried++; tried == tries {
				at, tried = at+1, 0
			}
		}
	}
	return b.n, false
}

// refusesCuts says that a message may have been refused because it was to be cut: its
// packets are larger than what goes through on this way (EMSGSIZE or, in earlier kernels,
// EINVAL), or they are encrypted on it, or the device cannot sum them up (EIO).
func (b *burst) refusesCuts(i int, errno unix.Errno) bool {
	return b.calls[i].msg.Control != nil &&
		(errno == unix.EMSGSIZE || errno == unix.EINVAL || errno == unix.EIO || errno == unix.EOPNOTSUPP)
}

// sendMany writes messages without blocking; an error is about the first one.
func sendMany(fd int, calls []manyMessage) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&calls[0])), uintptr(len(calls)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// cuts says that messages on a socket may be cut by the kernel.
func (c *Core) cuts(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	return err == nil && !c.config.NoGSO
}

// oneByOne counts the viewers whose datagrams are not put together.
func (c *Core) oneByOne() (n int) {
	for _, p := range c.peers {
		if p.kind != framedRecord && !p.segments {
			n++
		}
	}
	for _, p := range c.players {
		if p.paths != nil && !p.segments {
			n++
		}
	}
	return n
}

// packer is an egress by datagrams.
type packer interface {
	// pack appends a packet of a payload under a header to dst.
	pack(dst []byte, head *[rtpHeader]byte, payload []byte, index uint64) []byte
	// give sends c.burst, as [burst.send] does.
	give(c *Core, t *track) (done int, full bool)
}

// sendBursts is an egress' sendUnit by datagrams: as many packets at once as a burst
// takes. It reports false if the viewer takes no more for now.
func (t *track) sendBursts(c *Core, u *unit, to packer) bool {
	b := &c.burst
	for t.packet < u.count {
		b.reset(t.viewer.segments)
		for n := t.packet; n < u.count && b.room(); n++ {
			payload, _ := rtpPayload(t.line.arena.bytes(u.first + uint64(n))) // no packet without one gets into an arena
			index := t.index + uint64(n-t.packet)
			c.head = header(index, t.ts, u.marks(n))
			t.sign(&c.head)
			b.add(to.pack(b.space(), &c.head, payload, index), len(payload))
		}
		t.leaves(u, uint32(b.n))
		done, full := to.give(c, t)
		t.left(c, u, done)
		if full {
			t.viewer.blockedAt = c.now()
			return false
		}
	}
	return true
}

// left notes that the first packets of the burst are on their way, or lost. Their
// indices are used up either way, and the viewer may ask for them again.
func (t *track) left(c *Core, u *unit, done int) {
	if done > 0 {
		c.markFirst()
		n := uint32(done)
		t.sent.note(sentRun{
			line: t.onLine, index: t.index, packet: u.first + uint64(t.packet),
			ts: t.ts, count: n, marked: u.marks(t.packet + n - 1),
		})
		t.packets += uint64(n)
		t.octets += uint64(c.burst.paid[done])
		t.index += uint64(n)
		t.packet += n
	}
	t.onWay.open = false
	if t.viewer.segments && !c.burst.segments {
		t.viewer.segments = false
		c.log.Info("packets go to a viewer one by one: on its way they cannot be cut out of larger messages")
	}
}
