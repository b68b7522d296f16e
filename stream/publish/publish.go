// Package publish sends one stream of RTP from an app to the forwarder.
//
// The socket named by SLIPSTREAM_PUBLISH is a SOCK_SEQPACKET unix socket; a
// connection carries one stream, one message a packet. The first byte tells
// what a message is:
//
//	app → forwarder
//	  0x80–0xBF   an RTP packet (RFC 3550: version 2), at most MaxPacket bytes
//	  'S'         first message: stream name, '\n', SDP of exactly one medium (RFC
//	              8866); may carry the process's lock, see below
//	  'C'         capture clock: u32be RTP time, u64be CLOCK_MONOTONIC ns of the
//	              same instant, u64be frames captured so far, that frame included
//	              (0: not known)
//	forwarder → app
//	  'A'         accepted, answers 'S'
//	  'K'         a key frame is wanted as soon as possible
//	  'E'         refused: one sentence; the connection is closed after it
//
// # What is sent
//
// The SDP says the codec, which must be the one that the manifest declares for the
// stream; a sound is a stream of its own, on a connection of its own.
//
//	codec   rtpmap                 payload    RTP clock   key frame
//	h264    H264/90000             RFC 6184   90 kHz      IDR picture
//	h265    H265/90000             RFC 7798   90 kHz      IDR, BLA or CRA picture
//	mjpeg   JPEG/90000 (type 26)   RFC 2435   90 kHz      every picture
//	opus    opus/48000/2           RFC 7587   48 kHz      every packet
//	pcmu    PCMU/8000 (type 0)     RFC 3551   8 kHz       every packet
//	pcma    PCMA/8000 (type 8)     RFC 3551   8 kHz       every packet
//	aac     mpeg4-generic/RATE/N   RFC 3640   RATE        every packet
//
// Pictures: all packets of one share an RTP time, and the last one carries the
// marker bit, at which the forwarder shows the picture to viewers. Packets of up to
// 1200 bytes fit every viewer's path. Pictures come in the order in which they are
// shown, with nothing reordered (no B-frames: x264 and x265 bframes=0, ffmpeg -bf
// 0), in one layer (no SVC, nuh_layer_id 0), H.264 in packetization mode 0 or 1,
// H.265 with sprop-max-don-diff 0. The parameter sets (SPS and PPS, with H.265 the
// VPS too) stand in the SDP or before every key frame; where a key frame comes
// without them the forwarder puts them in front of it. A JPEG is baseline, at most
// 2040 pixels each way, and has its quantization tables in its first packet (Q
// from 128 on) or names them by Q.
//
// Sound: a packet holds whole frames and is decoded alone; a frame is never
// spread over two packets. 20 ms a packet are usual, 60 ms the most that a switch
// between versions does not cut a hole into. The marker bit may begin a talkspurt
// and means nothing to the forwarder. Opus is sent mono or stereo, as its packets
// say themselves; with DTX nothing is sent while it is silent, and RTP time goes on
// all the same. G.711 has one channel. AAC is AAC-LC in mode AAC-hbr, with its
// configuration in the SDP. MJPEG and AAC reach viewers over RTSP only, because
// browsers take neither.
//
// Sound and picture are shown together by their capture times, so a stream with
// sound should tell the capture clock on both connections.
//
// # The lock
//
// When a process dies, its sockets and its pidfd speak up only after its memory
// was torn down: 23 to 58 µs for each MB that it had. A robust futex is released
// before that. So the first message may carry one descriptor (SCM_RIGHTS): a
// memfd of [LockSize] bytes, sealed with F_SEAL_SHRINK and F_SEAL_GROW, whose
// first four bytes are a futex word that a thread of the process holds by
// set_robust_list(2). Its value is the thread's number with [LockWaiters]; the
// kernel replaces the number by [LockDied] when the thread dies, and wakes the
// forwarder. All streams of a process may carry the same lock.
//
// The lock is a favour to the app itself, whose viewers go back to the version
// before a little sooner. Without it, or with a memfd that is not as described, the
// stream is taken all the same. Other descriptors, or any with a later message, end
// the connection, and the source may not connect again. An app that sets
// [LockDied] itself has declared itself dead.
//
// [Dial] sends the lock wherever the kernel has robust futexes; an app in C does
// the same with c/slipstream.h.
//
// # Rejected
//
// A heartbeat: it would have to be frequent to be quick, and a busy app is not a
// dead one. A pthread mutex in shared memory: its layout belongs to one C library.
package publish

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of the protocol, in bytes.
const (
	MaxPacket = 2048     // one RTP packet
	MaxHello  = 16 << 10 // the first message
)

// First bytes of the messages that are not RTP.
const (
	MsgStream   = 'S'
	MsgClock    = 'C'
	MsgAccepted = 'A'
	MsgKeyFrame = 'K'
	MsgError    = 'E'
)

// ClockSize is the length of a capture clock message in bytes.
const ClockSize = 1 + 4 + 8 + 8

// FramesUnknown is for a publisher that does not know how many frames were
// captured: holes are then not looked for.
const FramesUnknown = 0

// sendBuffer holds the largest key frame that the forwarder may be late for:
// the default of a SEQPACKET socket blocks after about 110 KB.
const sendBuffer = 4 << 20

// Conn publishes one stream. Its methods may be called from several goroutines.
type Conn struct {
	conn *net.UnixConn
	keys chan struct{}
	done chan struct{}
	once sync.Once
	err  error // valid once done is closed
}

// RefusedError is the forwarder's own sentence on why it will not take a stream.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "publish: refused: " + e.Reason }

// Dial connects to the socket at path and declares a stream. The SDP has exactly
// one medium; sprop-parameter-sets may be left out if the stream repeats its
// parameter sets before every key frame. A [RefusedError] says what to change.
func Dial(path, stream string, sdp []byte) (*Conn, error) {
	uc, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if err := uc.SetWriteBuffer(sendBuffer); err != nil {
		uc.Close()
		return nil, fmt.Errorf("publish: enlarge send buffer: %w", err)
	}
	c := &Conn{conn: uc, keys: make(chan struct{}, 1), done: make(chan struct{})}
	if err := c.hello(stream, sdp); err != nil {
		uc.Close()
		return nil, err
	}
	go c.read()
	return c, nil
}

func (c *Conn) hello(stream string, sdp []byte) error {
	msg := append([]byte{MsgStream}, stream...)
	msg = append(append(msg, '\n'), sdp...)
	if len(msg) > MaxHello {
		return fmt.Errorf("publish: SDP of %d bytes is over the limit of %d", len(sdp), MaxHello)
	}
	var rights []byte
	if lock, err := processLock(); err == nil {
		rights = unix.UnixRights(lock)
	}
	if _, _, err := c.conn.WriteMsgUnix(msg, rights, nil); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	c.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	defer c.conn.SetReadDeadline(time.Time{})
	buf := make([]byte, MaxPacket)
	n, err := c.conn.Read(buf)
	switch {
	case err != nil:
		return fmt.Errorf("publish: no answer to stream %q: %w", stream, err)
	case n > 0 && buf[0] == MsgAccepted:
		return nil
	case n > 0 && buf[0] == MsgError:
		return &RefusedError{string(buf[1:n])}
	}
	return fmt.Errorf("publish: unknown answer to stream %q", stream)
}

func (c *Conn) read() {
	buf := make([]byte, MaxPacket)
	for {
		n, err := c.conn.Read(buf)
		if err == nil && n == 0 {
			err = net.ErrClosed
		}
		if err == nil && buf[0] == MsgError {
			err = &RefusedError{string(buf[1:n])}
		}
		if err != nil {
			c.close(err)
			return
		}
		if buf[0] == MsgKeyFrame {
			select {
			case c.keys <- struct{}{}:
			default: // one wish is as good as two
			}
		}
	}
}

// WriteRTP sends one RTP packet of at most [MaxPacket] bytes. It blocks while
// the forwarder is behind by more than the socket's buffer.
func (c *Conn) WriteRTP(packet []byte) error {
	if len(packet) < 12 || len(packet) > MaxPacket || packet[0]>>6 != 2 {
		return fmt.Errorf("publish: not an RTP packet of 12 to %d bytes", MaxPacket)
	}
	return c.write(packet)
}

// WriteClock says when the frame with RTP time ts was captured, on
// CLOCK_MONOTONIC, and how many frames were captured so far. Once a second is
// enough; without it, arrival times stand in.
func (c *Conn) WriteClock(ts uint32, captured time.Duration, frames uint64) error {
	var msg [ClockSize]byte
	msg[0] = MsgClock
	binary.BigEndian.PutUint32(msg[1:], ts)
	binary.BigEndian.PutUint64(msg[5:], uint64(captured))
	binary.BigEndian.PutUint64(msg[13:], frames)
	return c.write(msg[:])
}

func (c *Conn) write(msg []byte) error {
	if _, err := c.conn.Write(msg); err != nil {
		select {
		case <-c.done: // the reader knows better why
			return c.err
		default:
			return fmt.Errorf("publish: %w", err)
		}
	}
	return nil
}

// KeyFrames receives a value when the forwarder wants a key frame.
func (c *Conn) KeyFrames() <-chan struct{} { return c.keys }

// Done is closed when the connection has ended; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended, nil while it has not.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the stream.
func (c *Conn) Close() error {
	c.close(errors.New("publish: closed by the app"))
	return nil
}

func (c *Conn) close(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
		c.conn.Close()
	})
}

// Monotonic is CLOCK_MONOTONIC now: the clock that [Conn.WriteClock] and all of
// a device's processes share.
func Monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("publish: CLOCK_MONOTONIC: " + err.Error()) // every Linux has it
	}
	return time.Duration(ts.Nano())
}
