package core

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/publish"
)

const (
	// maxReply bounds what is written into a viewer's stream between two packets.
	maxReply = 4 << 10

	// maxPrefix is what stands before a packet on a stream socket, at most.
	maxPrefix = interleavedHeader

	// maxKept holds the rest of one packet, a reply, and a report for each track.
	maxKept = 2 * maxReply

	// maxSenderReport is one with the source's description.
	maxSenderReport = 64
)

// outflow is the way out on a stream socket. What a call has left unwritten of a
// packet that it cut is kept and goes first, because nothing may come in between.
// It is plain data.
type outflow struct {
	buf      [maxKept]byte
	from, to int32 // of buf: what is not written yet
}

func (o *outflow) empty() bool { return o.from == o.to }

// room says that so many bytes more can be kept. What was written makes room when
// all of it was.
func (o *outflow) room(n int) bool { return o.empty() || n <= maxKept-int(o.to) }

// add keeps what is to be written next, all or nothing of it: a process that dies on
// the way leaves no packet without its prefix. Whoever adds has made sure of the room.
func (o *outflow) add(pieces ...[]byte) {
	if o.empty() {
		o.from, o.to = 0, 0
	}
	to := o.to
	for _, b := range pieces {
		to += int32(copy(o.buf[to:], b))
	}
	o.to = to
}

// rest keeps what is left of a packet in two pieces behind its first n bytes.
func (o *outflow) rest(head, body []byte, n int) {
	if n < len(head) {
		o.add(head[n:])
		n = len(head)
	}
	o.add(body[n-len(head):])
}

// sendStream writes on a stream socket without blocking.
func sendStream(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// batchPackets is how many packets one call writes: the largest access units take
// a few calls, and a call takes at most 1024 pieces (UIO_MAXIOV).
const batchPackets = 256

// batch writes many packets with one call, without allocating or copying.
type batch struct {
	heads [batchPackets][interleavedHeader + rtpHeader]byte
	iov   [2 * batchPackets]unix.Iovec
	msg   unix.Msghdr
	n     int
}

func (b *batch) reset()     { b.n = 0 }
func (b *batch) full() bool { return b.n == batchPackets }

// add returns the place for the header of the next packet.
func (b *batch) add(payload []byte) *[interleavedHeader + rtpHeader]byte {
	head := &b.heads[b.n]
	b.iov[2*b.n].Base, b.iov[2*b.n+1].Base = &head[0], &payload[0]
	b.iov[2*b.n].SetLen(len(head))
	b.iov[2*b.n+1].SetLen(len(payload))
	b.n++
	return head
}

// size is how long the i-th packet is with its header.
func (b *batch) size(i int) int { return len(b.heads[i]) + b.payload(i) }

func (b *batch) payload(i int) int { return int(b.iov[2*i+1].Len) }

// send writes as much as there is room for.
func (b *batch) send(fd int) (int, unix.Errno) {
	b.msg.Iov = &b.iov[0]
	b.msg.SetIovlen(2 * b.n)
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&b.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// rest keeps what the i-th packet has left behind its first n bytes.
func (b *batch) rest(i, n int, out *outflow) {
	out.rest(b.heads[i][:], unsafe.Slice(b.iov[2*i+1].Base, b.payload(i)), n)
}

// A packet that was cut fits beside a reply.
var _ [maxKept - maxReply - maxPrefix - publish.MaxPacket - srtpOverhead - handover.MaxTracks*(maxPrefix+maxSenderReport)]byte
