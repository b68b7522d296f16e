package core

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// What is to be found next in what an RTSP client has sent.
type rtspKind uint8

const (
	rtspNothing  rtspKind = iota // more has to come
	rtspFrame                    // an interleaved packet (RFC 2326 §10.12)
	rtspOversize                 // the same, too long to be anything for the forwarder; its body is left out
	rtspAsks                     // a request
	rtspAnswers                  // a response, to a question that nobody has asked
	rtspBroken                   // no RTSP
)

const interleavedHeader = 4

// rtspItem is what a client has sent, whole. Its bytes are those that it was read from.
type rtspItem struct {
	kind    rtspKind
	size    int    // all of it
	channel byte   // of a frame
	body    []byte // of a frame
	request rtspRequest
}

// rtspRequest is a request as far as the forwarder has to understand it.
type rtspRequest struct {
	raw     []byte
	method  string
	version string // "RTSP/1.0"
	cseq    string
	session string // "" if it names none
	body    []byte
}

// nextRTSP finds the first item in what was read; its size is what may be dropped
// with it, also if there is none. A request may not have more than maxInflow bytes.
func nextRTSP(buf []byte) (it rtspItem) {
	blank := len(buf) - len(bytes.TrimLeft(buf, "\r\n")) // between requests (RFC 9112 §2.2)
	buf = buf[blank:]
	switch {
	case len(buf) == 0:
	case buf[0] == '$':
		it = nextFrame(buf)
	default:
		it = nextMessage(buf)
	}
	if it.kind == rtspNothing {
		it.size = 0
		if len(buf) >= maxInflow {
			it.kind = rtspBroken
		}
	}
	it.size += blank
	return it
}

func nextFrame(buf []byte) (it rtspItem) {
	if len(buf) < interleavedHeader {
		return it
	}
	n := int(binary.BigEndian.Uint16(buf[2:]))
	it.size, it.channel = interleavedHeader+n, buf[1]
	switch {
	case n > maxDatagram:
		it.kind = rtspOversize
	case it.size > len(buf):
		return rtspItem{}
	default:
		it.kind, it.body = rtspFrame, buf[interleavedHeader:it.size]
	}
	return it
}

// nextMessage takes a request or response apart.
func nextMessage(buf []byte) (it rtspItem) {
	broken := rtspItem{kind: rtspBroken}
	line, rest, whole := cutLine(buf)
	if !plausible(line) {
		return broken
	}
	if !whole {
		return it
	}
	if it.kind = it.request.startLine(line); it.kind == rtspBroken {
		return broken
	}
	headers := rtspHeaders{length: -1, cseq: -1, session: -1}
	for {
		if line, rest, whole = cutLine(rest); !whole {
			return rtspItem{}
		}
		if len(line) == 0 {
			break
		}
		if !headers.line(&it.request, line) {
			return broken
		}
	}
	body := max(headers.length, 0)
	it.size = len(buf) - len(rest) + body
	switch {
	case it.size > maxInflow, it.kind == rtspAsks && it.request.cseq == "":
		return broken
	case body > len(rest):
		return rtspItem{}
	}
	it.request.raw, it.request.body = buf[:it.size], rest[:body]
	return it
}

// cutLine takes a line, which ends with LF or CR LF.
func cutLine(buf []byte) (line, rest []byte, whole bool) {
	line, rest, whole = bytes.Cut(buf, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), rest, whole
}

// plausible says that a line that may not be whole yet can be a start line, so
// that rubbish is known when it comes and not when there is too much of it.
func plausible(line []byte) bool {
	if line[0] < 'A' || line[0] > 'Z' {
		return false
	}
	for _, b := range line {
		if b < ' ' && b != '\r' || b == 0x7f {
			return false
		}
	}
	return true
}

// startLine reads a request line or a status line (RFC 2326 §6.1, §7.1).
func (r *rtspRequest) startLine(line []byte) rtspKind {
	words := strings.Split(string(line), " ")
	if strings.HasPrefix(words[0], "RTSP/") {
		return rtspAnswers
	}
	if len(words) != 3 || len(words[0]) > 32 || words[1] == "" {
		return rtspBroken
	}
	r.method, r.version = words[0], words[2]
	if v := r.version; len(v) != len("RTSP/1.0") || !strings.HasPrefix(v, "RTSP/") || v[6] != '.' || !digits(v[5:6]+v[7:], 2) {
		return rtspBroken
	}
	return rtspAsks
}

// rtspHeaders are the values of those that count, and that no request may have
// twice; −1: not there.
type rtspHeaders struct{ length, cseq, session int }

func (h *rtspHeaders) line(r *rtspRequest, line []byte) bool {
	name, value, ok := strings.Cut(string(line), ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return false
	}
	value = strings.TrimSpace(value)
	var once *int
	switch strings.ToLower(name) {
	case "cseq":
		once, r.cseq = &h.cseq, value
		ok = digits(value, 9)
	case "session":
		once = &h.session
		id, _, _ := strings.Cut(value, ";")
		r.session = strings.TrimSpace(id)
		ok = r.session != ""
	case "content-length":
		once = &h.length
		ok = digits(value, 5)
	default:
		return true
	}
	if !ok || *once >= 0 {
		return false
	}
	*once = 0
	if once == &h.length {
		for _, d := range value {
			*once = *once*10 + int(d-'0')
		}
	}
	return true
}

// digits says that a text is a number of at most so many digits.
func digits(text string, most int) bool {
	return text != "" && len(text) <= most && strings.Trim(text, "0123456789") == ""
}
