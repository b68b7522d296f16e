package powercut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// negotiate greets a client and answers its options, until it begins or goes.
func (s *server) negotiate(conn net.Conn) (ready bool, err error) {
	be := binary.BigEndian
	hello := be.AppendUint64(nil, nbdMagic)
	hello = be.AppendUint64(hello, nbdOption)
	if _, err := conn.Write(be.AppendUint16(hello, nbdFixed|nbdNoZeroes)); err != nil {
		return false, err
	}
	var flags [4]byte
	if _, err := io.ReadFull(conn, flags[:]); err != nil {
		return false, fmt.Errorf("nbd: negotiate: %w", err)
	}
	if be.Uint32(flags[:])&nbdFixed == 0 {
		return false, errors.New("nbd: the client is too old")
	}
	for range maxOptions {
		ready, more, err := s.option(conn, be.Uint32(flags[:])&nbdNoZeroes == 0)
		if ready || !more || err != nil {
			return ready, err
		}
	}
	return false, fmt.Errorf("nbd: more than %d options", maxOptions)
}

// option answers one.
func (s *server) option(conn net.Conn, zeroes bool) (ready, more bool, err error) {
	be := binary.BigEndian
	var head [16]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return false, false, fmt.Errorf("nbd: option: %w", err)
	}
	kind, size := be.Uint32(head[8:]), be.Uint32(head[12:])
	if be.Uint64(head[:]) != nbdOption || size > maxOption {
		return false, false, fmt.Errorf("nbd: no option, or one of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(conn, body); err != nil {
		return false, false, fmt.Errorf("nbd: option: %w", err)
	}
	switch kind {
	case optExport: // answered without the head of a reply
		about := s.about()
		if zeroes {
			about = append(about, make([]byte, 124)...)
		}
		_, err := conn.Write(about)
		return true, false, err
	case optGo, optInfo:
		if err := reply(conn, kind, repInfo, append(be.AppendUint16(nil, infoMain), s.about()...)); err != nil {
			return false, false, err
		}
		sizes := be.AppendUint16(nil, infoBlock)
		for _, n := range []uint32{Sector, 4096, maxTransfer} { // least, best, most
			sizes = be.AppendUint32(sizes, n)
		}
		err := errors.Join(reply(conn, kind, repInfo, sizes), reply(conn, kind, repAck, nil))
		return kind == optGo, true, err
	case optAbort:
		return false, false, reply(conn, kind, repAck, nil)
	}
	return false, true, reply(conn, kind, repUnsup, nil)
}

// about is the export's size and what it can do.
func (s *server) about() []byte {
	be := binary.BigEndian
	return be.AppendUint16(be.AppendUint64(nil, uint64(s.blocks.Size())), flagHas|flagCanFlush|flagCanFUA|flagCanTrim|flagCanZero)
}

func reply(conn net.Conn, option, kind uint32, body []byte) error {
	be := binary.BigEndian
	raw := be.AppendUint64(nil, nbdReply)
	raw = be.AppendUint32(raw, option)
	raw = be.AppendUint32(raw, kind)
	raw = be.AppendUint32(raw, uint32(len(body)))
	_, err := conn.Write(append(raw, body...))
	return err
}

// call is one request of a client.
type call struct {
	flags, kind uint16
	cookie      uint64
	off         int64
	size        int64
}

// request answers one; more says that another may come.
func (s *server) request(conn net.Conn) (more bool, err error) {
	be := binary.BigEndian
	var head [28]byte
	if _, err := io.ReadFull(conn, head[:]); errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("nbd: request: %w", err)
	}
	c := call{be.Uint16(head[4:]), be.Uint16(head[6:]), be.Uint64(head[8:]), int64(be.Uint64(head[16:])), int64(be.Uint32(head[24:]))}
	if be.Uint32(head[:]) != nbdRequest || c.kind == cmdWrite && c.size > maxTransfer {
		return false, fmt.Errorf("nbd: no request, or a write of %d bytes", c.size)
	}
	var data []byte
	if c.kind == cmdWrite {
		data = make([]byte, c.size)
		if _, err := io.ReadFull(conn, data); err != nil {
			return false, fmt.Errorf("nbd: request: %w", err)
		}
	}
	if c.kind == cmdDisc {
		return false, nil
	}
	answer, code, err := s.do(c, data)
	if err != nil {
		return false, err
	}
	raw := be.AppendUint32(nil, nbdSimple)
	raw = be.AppendUint32(raw, code)
	raw = be.AppendUint64(raw, c.cookie)
	if code != 0 {
		answer = nil
	}
	_, err = conn.Write(append(raw, answer...))
	return true, err
}

// do does what is asked, and returns what is to be answered; an error ends the talk.
func (s *server) do(c call, data []byte) (answer []byte, code uint32, err error) {
	within := c.off >= 0 && c.size > 0 && c.off <= s.blocks.Size()-c.size && c.off%Sector == 0 && c.size%Sector == 0
	switch c.kind {
	case cmdFlush:
		err = s.blocks.Flush()
	case cmdRead:
		if !within || c.size > maxTransfer {
			return nil, nbdEINVAL, nil
		}
		answer = make([]byte, c.size)
		_, err = s.blocks.ReadAt(answer, c.off)
	case cmdWrite:
		if !within {
			return nil, nbdEINVAL, nil
		}
		err = s.blocks.WriteAt(data, c.off, c.flags&cmdFUA != 0)
	case cmdZero:
		if !within || c.size > maxTransfer {
			return nil, nbdEINVAL, nil
		}
		err = s.blocks.WriteAt(make([]byte, c.size), c.off, c.flags&cmdFUA != 0)
	case cmdTrim: // what was given up may stay
		if !within {
			return nil, nbdEINVAL, nil
		}
	default:
		return nil, nbdEINVAL, nil
	}
	if err != nil && !errors.Is(err, errOff) {
		return nil, nbdEIO, nil
	}
	return answer, 0, err
}
