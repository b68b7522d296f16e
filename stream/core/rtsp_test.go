package core

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func framed(channel byte, body string) string {
	return string(binary.BigEndian.AppendUint16([]byte{'$', channel}, uint16(len(body)))) + body
}

// feed gives an inflow what a client sends, in pieces of a size, and tells what was
// found in it.
func feed(stream string, piece func() int) (items []string) {
	var in inflow
	for len(stream) > 0 || in.have > 0 {
		n := min(piece(), len(stream), len(in.buf)-int(in.have))
		in.have += int32(copy(in.buf[in.have:], stream[:n]))
		stream = stream[n:]
		for {
			it := nextRTSP(in.waiting())
			switch it.kind {
			case rtspFrame:
				items = append(items, fmt.Sprintf("frame %d %s", it.channel, it.body))
			case rtspOversize:
				items = append(items, fmt.Sprintf("oversize %d", it.channel))
			case rtspAsks:
				r := it.request
				items = append(items, strings.Join([]string{r.method, r.version, r.cseq, r.session, string(r.body)}, "|"))
			case rtspAnswers:
				items = append(items, "response")
			case rtspBroken:
				return append(items, "broken")
			}
			in.pass(it.size)
			if it.kind == rtspNothing {
				break
			}
		}
		if n == 0 {
			return append(items, fmt.Sprintf("and %d bytes", in.have))
		}
	}
	return items
}

func TestRTSPRequests(t *testing.T) {
	t.Parallel()
	const options = "OPTIONS rtsp://camera/main RTSP/1.0\r\nCSeq: 5\r\n\r\n"
	long := "a=" + strings.Repeat("x", 300)
	for _, row := range []struct {
		what, stream string
		want         []string
	}{
		{"a request", options, []string{"OPTIONS|RTSP/1.0|5||"}},
		{"a session with a timeout, and other headers", "GET_PARAMETER * RTSP/2.0\r\nUser-Agent: a: b\r\ncseq:7\r\nSESSION:  abc ; timeout=60\r\n\r\n", []string{"GET_PARAMETER|RTSP/2.0|7|abc|"}},
		{"lines that end with LF only", "TEARDOWN * RTSP/1.0\nCSeq: 1\nSession: x\n\n", []string{"TEARDOWN|RTSP/1.0|1|x|"}},
		{"a body", "SET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 302\r\n\r\n" + long + options, []string{"SET_PARAMETER|RTSP/1.0|1||" + long, "OPTIONS|RTSP/1.0|5||"}},
		{"packets and blank lines between requests", framed(1, "report") + "\r\n\r\n" + options + framed(3, "") + framed(1, "OPTIONS"), []string{"frame 1 report", "OPTIONS|RTSP/1.0|5||", "frame 3 ", "frame 1 OPTIONS"}},
		{"a packet that is too long", framed(0, strings.Repeat("y", 60000)) + options, []string{"oversize 0", "OPTIONS|RTSP/1.0|5||"}},
		{"an answer that nobody has asked for", "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 2\r\n\r\nok" + options, []string{"response", "OPTIONS|RTSP/1.0|5||"}},
		{"half a request", options[:30], []string{"and 30 bytes"}},
		{"half a packet", framed(1, "report")[:8], []string{"and 8 bytes"}},

		{"a request without CSeq", "OPTIONS * RTSP/1.0\r\n\r\n", []string{"broken"}},
		{"two CSeqs", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nCSeq: 1\r\n\r\n", []string{"broken"}},
		{"a CSeq that is no number", "OPTIONS * RTSP/1.0\r\nCSeq: -1\r\n\r\n", []string{"broken"}},
		{"a negative length", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n", []string{"broken"}},
		{"two lengths", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", []string{"broken"}},
		{"a body over the limit", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 4096\r\n\r\n", []string{"broken"}},
		{"headers over the limit", "OPTIONS * RTSP/1.0\r\nX: " + strings.Repeat("x", maxInflow), []string{"broken"}},
		{"a start line over the limit", "OPTIONS " + strings.Repeat("x", maxInflow), []string{"broken"}},
		{"HTTP", "GET / HTTP/1.1\r\nHost: camera\r\n\r\n", []string{"broken"}},
		{"a version that is none", "OPTIONS * RTSP/1\r\nCSeq: 1\r\n\r\n", []string{"broken"}},
		{"a start line of two words", "OPTIONS RTSP/1.0\r\nCSeq: 1\r\n\r\n", []string{"broken"}},
		{"a header without a colon", "OPTIONS * RTSP/1.0\r\nCSeq 1\r\n\r\n", []string{"broken"}},
		{"a folded header", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: y\r\n z: 1\r\n\r\n", []string{"broken"}},
		{"an empty session", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nSession: ;timeout=6\r\n\r\n", []string{"broken"}},
		{"a TLS record", "\x16\x03\x01\x02\x00\x01\x00", []string{"broken"}},
		{"rubbish that begins well", "OPT\x00", []string{"broken"}},
	} {
		if got := feed(row.stream, func() int { return maxInflow }); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, not %q", row.what, got, row.want)
		}
		// It does not matter how the network cuts it.
		for _, piece := range []func() int{func() int { return 1 }, func() int { return 1 + rand.IntN(40) }} {
			if got := feed(row.stream, piece); !slices.Equal(got, row.want) {
				t.Errorf("%s, in pieces: %q, not %q", row.what, got, row.want)
			}
		}
	}
}

func TestRTSPReplies(t *testing.T) {
	t.Parallel()
	ask := func(method, version, session, body string) rtspReply {
		r := rtspRequest{method: method, version: version, cseq: "8", session: session, body: []byte(body)}
		return r.answer("mine", 60_000)
	}
	for _, row := range []struct {
		method, version, session, body string
		want                           rtspReply
	}{
		{"OPTIONS", "RTSP/1.0", "", "", rtspReply{text: "RTSP/1.0 200 OK\r\nCSeq: 8\r\nPublic: " + rtspMethods + "\r\n\r\n"}},
		{"GET_PARAMETER", "RTSP/2.0", "mine", "", rtspReply{text: "RTSP/2.0 200 OK\r\nCSeq: 8\r\nSession: mine;timeout=60\r\n\r\n"}},
		{"GET_PARAMETER", "RTSP/1.0", "mine", "position", rtspReply{text: "RTSP/1.0 451 Parameter Not Understood\r\nCSeq: 8\r\nSession: mine;timeout=60\r\n\r\n"}},
		{"SET_PARAMETER", "RTSP/1.0", "", "", rtspReply{text: "RTSP/1.0 200 OK\r\nCSeq: 8\r\nSession: mine;timeout=60\r\n\r\n"}},
		{"TEARDOWN", "RTSP/1.0", "mine", "", rtspReply{text: "RTSP/1.0 200 OK\r\nCSeq: 8\r\n\r\n", leave: true}},
		{"TEARDOWN", "RTSP/1.0", "another", "", rtspReply{text: "RTSP/1.0 454 Session Not Found\r\nCSeq: 8\r\n\r\n"}},
		{"OPTIONS", "RTSP/3.0", "", "", rtspReply{text: "RTSP/1.0 505 RTSP Version Not Supported\r\nCSeq: 8\r\n\r\n"}},
		{"PLAY", "RTSP/1.0", "mine", "", rtspReply{}},
		{"DESCRIBE", "RTSP/1.0", "", "", rtspReply{}},
	} {
		if got := ask(row.method, row.version, row.session, row.body); got != row.want {
			t.Errorf("%s: %+v, not %+v", row.method, got, row.want)
		}
	}
}

// FuzzRTSP gives the forwarder whatever an RTSP client may send: what is found lies
// in what was sent, and does not depend on how it came.
func FuzzRTSP(f *testing.F) {
	f.Add([]byte("OPTIONS rtsp://camera/main RTSP/1.0\r\nCSeq: 5\r\nSession: x;timeout=3\r\n\r\n$\x01\x00\x03abc"), uint8(3))
	f.Add([]byte("SET_PARAMETER * RTSP/1.0\nCSeq: 5\nContent-Length: 4\n\nbody\r\n$\x00\xff\xff"), uint8(1))
	f.Add([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"), uint8(9))
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		it := nextRTSP(sent[:min(len(sent), maxInflow)])
		if it.kind != rtspOversize && it.size > len(sent) || it.size < 0 || len(it.body) > maxDatagram || !bytes.Contains(sent, it.body) ||
			it.kind == rtspAsks && (it.request.cseq == "" || !bytes.Contains(sent, it.request.raw) || len(it.request.raw) > maxInflow) {
			t.Fatalf("%+v", it)
		}
		if it.kind == rtspAsks {
			it.request.answer("session", 60_000)
		}
		whole := feed(string(sent), func() int { return maxInflow })
		if parts := feed(string(sent), func() int { return 1 + int(piece) }); !slices.Equal(whole, parts) {
			t.Fatalf("%q in pieces of %d is %q, not %q", sent, piece+1, parts, whole)
		}
	})
}
