package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"slipstream/agent/wire"
)

// lineOf makes a status line of exactly n bytes with its newline.
func lineOf(n int) string {
	const head, tail = `{"status":"`, "\"}\n"
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

func TestReadTakesLinesUpToTheLimit(t *testing.T) {
	r := wire.NewReader(strings.NewReader(lineOf(wire.MaxLine) + `{"ping":{}}` + "\n"))
	var first, second wire.Up
	if err := r.Read(&first); err != nil {
		t.Fatalf("a line of MaxLine bytes: %v", err)
	}
	if err := r.Read(&second); err != nil || second.Ping == nil {
		t.Fatalf("the line after it: %+v, %v", second, err)
	}
	if err := r.Read(&second); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

func TestReadRefusesLongerLines(t *testing.T) {
	r := wire.NewReader(strings.NewReader(lineOf(wire.MaxLine + 1)))
	if err := r.Read(&wire.Up{}); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("got %v, want ErrTooLong", err)
	}
}

// An endless line must not be gathered: the reader stops at the limit.
func TestReadStopsAtTheLimitOfAnEndlessLine(t *testing.T) {
	endless := &countingReader{}
	if err := wire.NewReader(endless).Read(&wire.Up{}); !errors.Is(err, wire.ErrTooLong) {
		t.Fatalf("got %v, want ErrTooLong", err)
	}
	if endless.n > 2*wire.MaxLine {
		t.Errorf("%d bytes were read before the reader gave up", endless.n)
	}
}

type countingReader struct{ n int }

func (c *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	c.n += len(p)
	return len(p), nil
}

// However the bytes come, the lines are the same; and between them a reader has little
// room, because a panel has as many as devices.
func TestReadInPieces(t *testing.T) {
	sizes := []int{30, 511, 512, 513, 70_000, 40, wire.MaxLine, 100, 1000, 50}
	var text strings.Builder
	for _, n := range sizes {
		text.WriteString(lineOf(n))
	}
	for _, most := range []int{1, 7, 511, 4096, wire.MaxLine} {
		in := &pieces{text: text.String(), most: most}
		r := wire.NewReader(in)
		for _, n := range sizes {
			var up wire.Up
			if err := r.Read(&up); err != nil {
				t.Fatalf("a line of %d bytes, by %d: %v", n, most, err)
			}
			if want := len(lineOf(n)) - len(`{"status":}`) - 1; len(up.Status) != want {
				t.Errorf("a line of %d bytes, by %d: its status has %d bytes, not %d", n, most, len(up.Status), want)
			}
		}
		if err := r.Read(&wire.Up{}); !errors.Is(err, io.EOF) {
			t.Errorf("behind the last line: %v", err)
		}
		if in.room > 1024 {
			t.Errorf("by %d: at rest the reader has room for %d bytes", most, in.room)
		}
	}
}

// pieces gives a text out in small parts, and remembers how much was asked for last.
type pieces struct {
	text       string
	most, room int
}

func (p *pieces) Read(b []byte) (int, error) {
	p.room = len(b)
	n := copy(b[:min(len(b), p.most)], p.text)
	p.text = p.text[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestReadOfACutLinkIsItsEnd(t *testing.T) {
	if err := wire.NewReader(strings.NewReader(`{"ping":`)).Read(&wire.Up{}); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want io.EOF", err)
	}
}

func TestReadRefusesNonsense(t *testing.T) {
	for _, line := range []string{"", "hello", `{"ping":`, `[]`, `{"answer":{"id":-1}}`} {
		if err := wire.NewReader(strings.NewReader(line + "\n")).Read(&wire.Up{}); err == nil {
			t.Errorf("%q was taken for a line of the link", line)
		}
	}
}

// Devices and panels of different age must understand each other.
func TestReadToleratesWhatLaterVersionsAdd(t *testing.T) {
	r := wire.NewReader(strings.NewReader(
		`{"weather":{"rain":true}}` + "\n" +
			`{"ask":{"id":3,"colour":"red","stage":{"url":"/v1/releases/1","urgent":true}}}` + "\n"))
	var unknown, ask wire.Down
	if err := r.Read(&unknown); err != nil || unknown != (wire.Down{}) {
		t.Errorf("an unknown line gave %+v, %v", unknown, err)
	}
	if err := r.Read(&ask); err != nil || ask.Ask == nil || ask.Ask.ID != 3 || ask.Ask.Stage.URL != "/v1/releases/1" {
		t.Errorf("an ask with unknown fields gave %+v, %v", ask.Ask, err)
	}
}

func TestWriteRefusesALongLineAndGoesOn(t *testing.T) {
	var sent bytes.Buffer
	w := wire.NewWriter(&sent)
	long, _ := json.Marshal(strings.Repeat("x", wire.MaxLine))
	if err := w.Write(wire.Up{Status: long}); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("got %v, want ErrTooLong", err)
	}
	if err := w.Write(wire.Up{Ping: &wire.Ping{}}); err != nil {
		t.Fatal(err)
	}
	if got := sent.String(); got != `{"ping":{}}`+"\n" {
		t.Errorf("sent %q", got)
	}
}

// The greatest offer must fit a line, its line ends quoted.
func TestTheGreatestOfferFitsALine(t *testing.T) {
	sdp := strings.Repeat("a=\r\n", wire.MaxOffer/4)
	ask := wire.Ask{ID: 1 << 60, WHEP: &wire.WHEP{Stream: "main", Offer: sdp}}
	if err := wire.NewWriter(io.Discard).Write(wire.Down{Ask: &ask}); err != nil {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"hello":{"device":"cam-1"}}` + "\n" + `{"status":{}}` + "\n"))
	f.Add([]byte(`{"ask":{"id":1,"whep":{"stream":"main","offer":"v=0\r\n"}}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := wire.NewReader(bytes.NewReader(data))
		for {
			var up wire.Up
			if err := r.Read(&up); err != nil {
				return
			}
			if len(up.Status) > wire.MaxLine {
				t.Fatalf("a status of %d bytes came out of a bounded line", len(up.Status))
			}
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add(wire.NewToken("").String())
	f.Add("slipstream_ABCDEFGH_ABCDEFGHIJKLMNOPQRSTUVWXYZ_ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := wire.ParseToken(text)
		if err != nil {
			return
		}
		if again, err := wire.ParseToken(token.String()); err != nil || again != token || token.String() != strings.TrimSpace(text) {
			t.Errorf("%q was read as %q, %v", text, token, err)
		}
	})
}

func FuzzParseEnrollment(f *testing.F) {
	f.Add([]byte(`{"device":"cam-1","certificate":["AAAA"],"authorities":[]}`))
	f.Add([]byte(`{"certificate":null,"fleetRoot":"e30="}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := wire.ParseEnrollment(text)
		if err == nil && (e.Device == "" || len(e.Certificate) == 0) {
			t.Errorf("%q was taken for an enrolment", text)
		}
	})
}

func TestTokens(t *testing.T) {
	token := wire.NewToken("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
	if len(token.Secret) < 26 {
		t.Errorf("a secret of %d characters has less than 128 bits", len(token.Secret))
	}
	if got, err := wire.ParseToken(" " + token.String() + "\n"); err != nil || got != token {
		t.Errorf("%+v, %v", got, err)
	}
	text := token.String()
	for _, bad := range []string{
		"", "slipstream", "cam-1~secret", text[1:], text[:len(text)-1], text + "A", text + "_", strings.ToLower(text),
		"slipstream_A_" + token.Secret, "slipstream_" + token.ID + "_SHORT", "slipstream_" + token.ID + "_" + token.Secret + "_", strings.Repeat("A", 1<<20),
	} {
		if got, err := wire.ParseToken(bad); err == nil {
			t.Errorf("%.40q was taken for %+v", bad, got)
		} else if strings.Contains(err.Error(), token.Secret) {
			t.Error("the error shows the secret")
		}
	}
}
