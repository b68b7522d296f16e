package gateway

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/base"
)

// Limits of one RTSP request.
const (
	maxRTSPHead    = 4 << 10 // bytes, from the method to the empty line; also what is read ahead
	maxRTSPHeaders = 64
	maxRTSPMethod  = 32
	maxRTSPURL     = 512
	maxRTSPBody    = 4 << 10 // nothing that comes in a body is used
	maxCSeq        = 9       // digits
)

// rtspRequest is a request whose body was passed over.
type rtspRequest struct {
	base.Request // URL is nil for "*"

	cseq    string
	session string // "": it names none
	body    int    // bytes
}

// rtspError refuses a request with a status of RTSP (RFC 2326 §7.1.1).
type rtspError struct {
	status base.StatusCode
	why    string
}

func (e *rtspError) Error() string { return e.why }

func refuse(status base.StatusCode, why string) *rtspError { return &rtspError{status, why} }

// readRequest returns the next request. Interleaved packets before it are passed
// over, and so are empty lines. After an error nobody knows where the next request
// begins.
func readRequest(br *bufio.Reader) (*rtspRequest, error) {
	for {
		first, err := br.Peek(1)
		if err != nil {
			return nil, err
		}
		switch {
		case first[0] == '\r' || first[0] == '\n':
			_, _ = br.Discard(1) // it was peeked at
		case first[0] == base.InterleavedFrameMagicByte:
			err = passFrame(br)
		case first[0] < 'A' || first[0] > 'Z':
			return nil, refuse(base.StatusBadRequest, "no request of RTSP begins like this")
		default:
			return readWhole(br)
		}
		if err != nil {
			return nil, err
		}
	}
}

// passFrame passes over an interleaved packet (RFC 2326 §10.12).
func passFrame(br *bufio.Reader) error {
	head, err := br.Peek(4)
	if err == nil {
		_, err = br.Discard(4 + int(binary.BigEndian.Uint16(head[2:])))
	}
	return err
}

func readWhole(br *bufio.Reader) (*rtspRequest, error) {
	head, err := readHead(br)
	if err != nil {
		return nil, err
	}
	r, err := parseRequest(head)
	if err != nil {
		return nil, err
	}
	_, err = br.Discard(len(head) + r.body)
	return r, err
}

// readHead waits until a whole head is there, and leaves it there.
func readHead(br *bufio.Reader) ([]byte, error) {
	for seen := 0; ; {
		have, _ := br.Peek(br.Buffered())
		if i := bytes.Index(have[max(0, seen-3):], []byte("\r\n\r\n")); i >= 0 {
			return have[:max(0, seen-3)+i+4], nil
		}
		if len(have) == br.Size() {
			return nil, refuse(base.StatusRequestEntityTooLarge, fmt.Sprintf("a request's head has at most %d bytes", maxRTSPHead))
		}
		seen = len(have)
		if _, err := br.Peek(seen + 1); err != nil {
			return nil, err
		}
	}
}

// parseRequest reads the head of a request.
func parseRequest(head []byte) (*rtspRequest, error) {
	tr := textproto.NewReader(bufio.NewReader(bytes.NewReader(head)))
	line, err := tr.ReadLine()
	if err != nil {
		return nil, refuse(base.StatusBadRequest, "the request has no first line")
	}
	r := &rtspRequest{}
	if err := r.parseLine(line); err != nil {
		return nil, err
	}
	header, err := tr.ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, refuse(base.StatusBadRequest, "the request's headers are malformed")
	}
	n := 0
	r.Header = base.Header{}
	for key, values := range header {
		r.Header[rtspKey(key)] = values
		n += len(values)
	}
	if n > maxRTSPHeaders {
		return nil, refuse(base.StatusBadRequest, fmt.Sprintf("a request has at most %d headers", maxRTSPHeaders))
	}
	return r, r.parseHeaders()
}

func (r *rtspRequest) parseLine(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	rawURL, version, _ := strings.Cut(rest, " ")
	switch {
	case method == "" || len(method) > maxRTSPMethod || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" || rawURL == "":
		return refuse(base.StatusBadRequest, "the request's first line is malformed")
	case version != "RTSP/1.0":
		return refuse(base.StatusRTSPVersionNotSupported, "the version must be RTSP/1.0")
	case len(rawURL) > maxRTSPURL:
		return refuse(base.StatusRequestURITooLong, fmt.Sprintf("a URL has at most %d bytes", maxRTSPURL))
	}
	r.Method = base.Method(method)
	if rawURL == "*" {
		return nil
	}
	u, err := base.ParseURL(rawURL)
	if err != nil {
		return refuse(base.StatusBadRequest, "the URL is malformed")
	}
	r.URL = u
	return nil
}

// rtspKey is how the library spells a header's name.
func rtspKey(key string) string {
	switch key = http.CanonicalHeaderKey(key); key {
	case "Cseq":
		return "CSeq"
	case "Rtp-Info":
		return "RTP-Info"
	}
	return key
}

// parseHeaders reads those headers that every request may have.
func (r *rtspRequest) parseHeaders() error {
	cseq := r.Header["CSeq"]
	if len(cseq) != 1 || cseq[0] == "" || len(cseq[0]) > maxCSeq || strings.Trim(cseq[0], "0123456789") != "" {
		return refuse(base.StatusBadRequest, "the request has no CSeq, or more than one")
	}
	r.cseq = cseq[0]
	if sessions := r.Header["Session"]; len(sessions) > 0 {
		r.session, _, _ = strings.Cut(sessions[0], ";")
		if len(sessions) > 1 || r.session == "" {
			return refuse(base.StatusBadRequest, "the request names no session, or more than one")
		}
	}
	if lengths := r.Header["Content-Length"]; len(lengths) > 0 {
		n, err := strconv.ParseUint(lengths[0], 10, 31)
		if len(lengths) > 1 || err != nil {
			return refuse(base.StatusBadRequest, "the request's Content-Length is malformed")
		}
		if n > maxRTSPBody {
			return refuse(base.StatusRequestEntityTooLarge, fmt.Sprintf("a request's body has at most %d bytes", maxRTSPBody))
		}
		r.body = int(n)
	}
	return nil
}
