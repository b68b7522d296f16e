package gateway

import (
	"errors"
	"strings"
	"testing"
)

// The draft's own examples.
const (
	trickled = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n" +
		"a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n" +
		"a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw network-id 1\r\na=end-of-candidates\r\n"
	restarted = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n"
)

func TestParseFragment(t *testing.T) {
	t.Parallel()
	f, err := parseFragment([]byte(restarted))
	if want := (fragment{"ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k", "BUNDLE 0 1", "audio 9 UDP/TLS/RTP/SAVPF 111", "0"}); err != nil || f != want {
		t.Errorf("%+v, %v", f, err)
	}
	want := "a=ice-lite\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n" +
		"a=candidate:1 1 udp 2130706431 192.0.2.7 8189 typ host\r\na=end-of-candidates\r\n"
	if got := f.answer(credentials{"u", "p"}, []string{"1 1 udp 2130706431 192.0.2.7 8189 typ host"}); got != want {
		t.Errorf("answer\n%swant\n%s", got, want)
	}
	const least = "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n"
	for _, c := range []struct {
		name, text, says string
	}{
		{"the draft's candidates", trickled, ""},
		{"line feeds alone, and no section", least, ""},
		{"another section of the same session", restarted + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n", ""},
		{"a host's name", least + "a=candidate:1 1 udp 1 4f2b-77.local 9 typ host\n", ""},
		{"an unknown attribute", least + "a=x:y\n", ""},
		{"no password", "a=ice-ufrag:EsAw\n", "no ice-ufrag and ice-pwd"},
		{"two sessions", restarted + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:other\r\n", "two ICE sessions"},
		{"a short ufrag", "a=ice-ufrag:EsA\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n", "line 1"},
		{"a short password", "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWC\n", "line 2"},
		{"a ufrag with a colon", "a=ice-ufrag:Es:Aw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n", "line 1"},
		{"a data channel", least + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n", "line 3"},
		{"a whole description", "v=0\n" + least, "line 1"},
		{"a candidate without a type", least + "a=candidate:1 1 udp 1 192.0.2.1 9 host\n", "malformed candidate"},
		{"a candidate whose port is none", least + "a=candidate:1 1 udp 1 192.0.2.1 99999 typ host\n", "malformed candidate"},
		{"a candidate whose address is none", least + "a=candidate:1 1 udp 1 192.0.2.1/x 9 typ host\n", "malformed candidate"},
		{"a mid with a space", least + "a=mid:0 1\n", "malformed mid"},
		{"a group of something else", least + "a=group:LS 0 1\n", "malformed"},
	} {
		_, err := parseFragment([]byte(c.text))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v; want %q", c.name, err, c.says)
		}
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header []string
		want   error
	}{
		{nil, errNoMatch}, {[]string{`"x"`}, nil}, {[]string{"*"}, nil}, {[]string{`"*"`}, nil}, {[]string{`"a", "x"`}, nil}, {[]string{`"a"`, `"x"`}, nil},
		{[]string{`W/"x"`}, errMismatch}, {[]string{"x"}, errMismatch}, {[]string{""}, errMismatch}, {[]string{`"xx"`}, errMismatch},
	} {
		if err := matches(c.header, `"x"`); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.header, err, c.want)
		}
	}
}

// What a viewer is told of its own words is a fragment again, of as many lines as it
// should have.
func FuzzFragment(f *testing.F) {
	f.Add([]byte(trickled))
	f.Add([]byte(restarted))
	f.Add([]byte("a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\nm=video 9 X/Y 1 2 3\na=mid:x\na=candidate:1 1 udp 1 h 9 typ host"))
	ours := newCredentials()
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseFragment(text)
		if err != nil {
			return
		}
		answer := got.answer(ours, []string{"1 1 udp 2130706431 192.0.2.7 8189 typ host"})
		again, err := parseFragment([]byte(answer))
		if err != nil || again.ufrag != ours.ufrag || again.pwd != ours.pwd || again.media != got.media || again.mid != got.mid || again.group != got.group {
			t.Fatalf("%q is answered with %q: %v", text, answer, err)
		}
		if n := strings.Count(answer, "\n"); n > 8 || n != strings.Count(answer, "\r\n") {
			t.Fatalf("an answer of %d lines: %q", n, answer)
		}
	})
}
