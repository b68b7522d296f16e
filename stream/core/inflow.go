package core

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxInflow bounds what a viewer may have said on a stream socket without its
// having been taken apart: one RTSP request with its body, or one packet.
const maxInflow = 4 << 10

// inflow holds what came on a stream socket until it is whole.
type inflow struct {
	buf  [maxInflow]byte
	have int32
	skip int32 // bytes still to come that are of no use
}

// read takes what the socket has, as far as there is room, and returns how much
// that was; 0 without an error means end of file, or no room.
func (in *inflow) read(fd int) (int, unix.Errno) {
	room := in.buf[in.have:]
	if len(room) == 0 {
		return 0, 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	in.have += int32(n)
	return int(n), 0
}

func (in *inflow) full() bool { return int(in.have) == len(in.buf) }

// waiting is what was read and not dropped; what is to be skipped is dropped
// first.
func (in *inflow) waiting() []byte {
	if n := min(in.skip, in.have); n > 0 {
		in.skip -= n
		in.drop(int(n))
	}
	return in.buf[:in.have]
}

// drop forgets the first n bytes.
func (in *inflow) drop(n int) {
	in.have = int32(copy(in.buf[:], in.buf[n:in.have]))
}

// pass forgets n bytes, of which some may be yet to come.
func (in *inflow) pass(n int) {
	in.skip += int32(n)
	in.waiting()
}
