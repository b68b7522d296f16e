package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pion/rtp"
)

// Headers of RFC 2435 §3.1.
const (
	jpegHeader     = 8
	jpegRestart    = 4 // §3.1.7, of types from 64 on
	jpegTables     = 4 // §3.1.8, before the tables themselves
	jpegOwnTables  = 128
	jpegMaxOffset  = 1<<24 - 1
	restartFirst   = 0x8000
	restartLast    = 0x4000
	restartUnknown = 0x3fff // the frame is decoded as a whole
)

var errJPEG = errors.New("a packet that is no JPEG of RFC 2435 (baseline, 4:2:0 or 4:2:2, at most 2040 pixels each way)")

// jpegCutter cuts packets of JPEG that are too large. The scan's bytes are
// numbered, so a part only says where it begins.
type jpegCutter struct{ sender }

func (c *jpegCutter) take(p *rtp.Packet) error {
	c.count(p.SequenceNumber)
	payload := p.Payload
	if len(payload) == 0 {
		return nil
	}
	if len(payload) <= maxPayload {
		return c.emit(p, p.Marker, payload)
	}
	head, tables, scan, err := splitJPEG(payload)
	if err != nil {
		return err
	}
	if len(head)+len(tables) >= maxPayload {
		return fmt.Errorf("quantization tables of %d bytes do not fit one packet", len(tables))
	}
	offset := int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	for first := true; len(scan) > 0; first = false {
		n := min(maxPayload-len(head)-len(tables), len(scan))
		last := n == len(scan)
		if offset > jpegMaxOffset {
			return errJPEG
		}
		if err := c.emit(p, p.Marker && last, partHead(head, offset, first, last), tables, scan[:n]); err != nil {
			return err
		}
		offset, tables, scan = offset+n, nil, scan[n:]
	}
	return nil
}

// splitJPEG finds the headers that every packet has, the tables that only a
// frame's first one has, and the scan.
func splitJPEG(payload []byte) (head, tables, scan []byte, err error) {
	n := jpegHeader
	if len(payload) < n {
		return nil, nil, nil, errJPEG
	}
	if t := payload[4]; t >= 64 && t < 128 {
		n += jpegRestart
	}
	offset := int(payload[1])<<16 | int(payload[2])<<8 | int(payload[3])
	size := 0
	if payload[5] >= jpegOwnTables && offset == 0 {
		if len(payload) < n+jpegTables {
			return nil, nil, nil, errJPEG
		}
		size = jpegTables + int(binary.BigEndian.Uint16(payload[n+2:]))
	}
	if len(payload) <= n+size {
		return nil, nil, nil, errJPEG
	}
	return payload[:n], payload[n : n+size], payload[n+size:], nil
}

// partHead is the header of one part of a packet. A part of a chunk of restart
// intervals says whether it is the chunk's first or last (§3.1.7).
func partHead(head []byte, offset int, first, last bool) []byte {
	h := append(make([]byte, 0, jpegHeader+jpegRestart), head...)
	h[1], h[2], h[3] = byte(offset>>16), byte(offset>>8), byte(offset)
	if len(h) == jpegHeader {
		return h
	}
	chunk := binary.BigEndian.Uint16(h[jpegHeader+2:])
	if chunk&restartUnknown != restartUnknown {
		if !first {
			chunk &^= restartFirst
		}
		if !last {
			chunk &^= restartLast
		}
		binary.BigEndian.PutUint16(h[jpegHeader+2:], chunk)
	}
	return h
}
