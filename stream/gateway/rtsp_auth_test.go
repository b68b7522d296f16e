package gateway_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"regexp"
	"strings"
	"testing"

	"slipstream/stream/gateway"
	"slipstream/stream/viewers"
)

// digest is the header that answers a challenge (RFC 7616 §3.4, without qop).
func digest(algorithm, name, secret, nonce, method, uri string) string {
	sum := map[string]func() hash.Hash{"MD5": md5.New, "SHA-256": sha256.New}[algorithm]
	h := func(text string) string {
		s := sum()
		s.Write([]byte(text))
		return hex.EncodeToString(s.Sum(nil))
	}
	response := h(h(name+":slipstream:"+secret) + ":" + nonce + ":" + h(method+":"+uri))
	return fmt.Sprintf(`Authorization: Digest username="%s", realm="slipstream", nonce="%s", uri="%s", response="%s", algorithm="%s"`, name, nonce, uri, response, algorithm)
}

// nonce is that of the last answer.
func (c *conversation) nonce(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`nonce="([^"]+)"`).FindStringSubmatch(c.header.Get("WWW-Authenticate"))
	if m == nil {
		t.Fatalf("no challenge in %v", c.header)
	}
	return m[1]
}

func (c *conversation) stale() bool {
	return strings.Contains(c.header.Get("WWW-Authenticate"), `stale="true"`)
}

// wants asks and fails the test if the status is another one.
func (c *conversation) wants(t *testing.T, want, method, url string, headers ...string) {
	t.Helper()
	if status, _ := c.ask(t, method, url, headers...); !strings.HasPrefix(status, "RTSP/1.0 "+want+" ") {
		t.Errorf("%s %v: %s; want %s", method, headers, status, want)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		t.Run(algorithm, func(t *testing.T) {
			w := newWorld(t, guarded(t, "nvr:right-secret\n"))
			f := newFakeWithSound(t, w)
			c := talk(t, w)
			c.wants(t, "401", "DESCRIBE", w.rtsp)
			for _, want := range []string{`algorithm="MD5"`, `algorithm="SHA-256"`} {
				if !strings.Contains(strings.Join(c.header["Www-Authenticate"], "\n"), want) {
					t.Errorf("the challenge lacks %s: %v", want, c.header)
				}
			}
			if strings.Contains(fmt.Sprint(c.header), "Basic") || c.stale() {
				t.Errorf("the first challenge: %v", c.header)
			}
			nonce := c.nonce(t)
			c.wants(t, "200", "DESCRIBE", w.rtsp, digest(algorithm, "nvr", "right-secret", nonce, "DESCRIBE", w.rtsp))
			track := w.rtsp + "/trackID=0"
			c.wants(t, "200", "SETUP", track, interleaved, digest(algorithm, "nvr", "right-secret", nonce, "SETUP", track))
			c.send(t, "PLAY "+w.rtsp+" RTSP/1.0\r\nCSeq: 7\r\n"+digest(algorithm, "nvr", "right-secret", nonce, "PLAY", w.rtsp)+"\r\n\r\n")
			f.player()
			w.log.await(t, "viewer=nvr")
		})
	}
}

// Each of these is refused, and asked again.
func TestDigestThatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, guarded(t, "nvr:right-secret\nmary:other-secret\n"))
	newFakeWithSound(t, w)
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("nvr:right-secret"))
	for i, c := range []struct {
		name   string
		header func(nonce string) string
		stale  bool
	}{
		{"nothing", func(string) string { return "X: y" }, false},
		{"a wrong secret", func(n string) string { return digest("MD5", "nvr", "wrong-secret", n, "DESCRIBE", w.rtsp) }, false},
		{"another's secret", func(n string) string { return digest("MD5", "nvr", "other-secret", n, "DESCRIBE", w.rtsp) }, false},
		{"a name that nobody has", func(n string) string { return digest("SHA-256", "john", "right-secret", n, "DESCRIBE", w.rtsp) }, false},
		{"another method", func(n string) string { return digest("MD5", "nvr", "right-secret", n, "SETUP", w.rtsp) }, false},
		{"another URL", func(n string) string { return digest("MD5", "nvr", "right-secret", n, "DESCRIBE", w.rtsp+"2") }, false},
		{"a nonce of another connection", func(string) string { return digest("MD5", "nvr", "right-secret", "0123456789", "DESCRIBE", w.rtsp) }, true},
		{"a wrong secret with a nonce of another connection", func(string) string { return digest("MD5", "nvr", "wrong-secret", "0123456789", "DESCRIBE", w.rtsp) }, false},
		{"basic credentials, which can be overheard", func(string) string { return basic }, false},
		{"a bearer token", func(string) string { return "Authorization: Bearer right-secret" }, false},
		{"half a header", func(string) string { return `Authorization: Digest username="nvr` }, false},
		{"two headers", func(n string) string {
			h := digest("MD5", "nvr", "right-secret", n, "DESCRIBE", w.rtsp)
			return h + "\r\n" + h
		}, false},
	} {
		conn := talkFrom(t, w, fmt.Sprint("127.0.1.", i+1)) // of an address that has not been wrong yet
		conn.wants(t, "401", "DESCRIBE", w.rtsp)
		first := conn.nonce(t)
		conn.wants(t, "401", "DESCRIBE", w.rtsp, c.header(first))
		if conn.stale() != c.stale {
			t.Errorf("%s: stale is %v: %v", c.name, conn.stale(), conn.header)
		}
		again := conn.nonce(t)
		if again == first {
			t.Errorf("%s: the nonce is the one before", c.name)
		}
		conn.wants(t, "200", "DESCRIBE", w.rtsp, digest("MD5", "nvr", "right-secret", again, "DESCRIBE", w.rtsp))
	}
}

// Over TLS nobody overhears, and basic credentials will do.
func TestBasicOverTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, secured(t), guarded(t, "nvr:right-secret\nmary:other-secret\n"))
	newFakeWithSound(t, w)
	basic := func(credentials string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
	}
	c := talkTLS(t, w)
	c.wants(t, "401", "DESCRIBE", w.rtsps(""))
	if !strings.Contains(fmt.Sprint(c.header), `Basic realm="slipstream"`) {
		t.Errorf("the challenge: %v", c.header)
	}
	for _, wrong := range []string{"nvr:wrong-secret", "nvr:other-secret", "nvr", ":right-secret", "nvr:right-secret:x"} {
		c.wants(t, "401", "DESCRIBE", w.rtsps(""), basic(wrong))
	}
	c.wants(t, "200", "DESCRIBE", w.rtsps(""), basic("nvr:right-secret"))
	c.wants(t, "200", "DESCRIBE", w.rtsps(""), digest("MD5", "nvr", "right-secret", func() string {
		c.wants(t, "401", "DESCRIBE", w.rtsps(""))
		return c.nonce(t)
	}(), "DESCRIBE", w.rtsps("")))
}

// Who guesses has to wait, even if the last guess is right; others need not.
func TestGuessing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, guarded(t, "nvr:right-secret\n"))
	newFakeWithSound(t, w)
	guess := func(c *conversation, secret string) string {
		c.ask(t, "DESCRIBE", w.rtsp)
		if strings.Contains(fmt.Sprint(c.header), "nonce") {
			status, _ := c.ask(t, "DESCRIBE", w.rtsp, digest("MD5", "nvr", secret, c.nonce(t), "DESCRIBE", w.rtsp))
			return status
		}
		return "no challenge"
	}
	n := 0
	for ; strings.HasPrefix(guess(talkFrom(t, w, "127.0.0.2"), fmt.Sprint("guess-", n)), "RTSP/1.0 401 "); n++ {
		if n > 100 {
			t.Fatal("one may guess for ever")
		}
	}
	if n < 3 {
		t.Errorf("one may be wrong %d times only", n)
	}
	if status := guess(talkFrom(t, w, "127.0.0.2"), "right-secret"); status != "no challenge" {
		t.Errorf("the right one, after too many: %s", status)
	}
	if status := guess(talkFrom(t, w, "127.0.0.3"), "right-secret"); status != "RTSP/1.0 200 OK" {
		t.Errorf("another address: %s", status)
	}
	w.log.await(t, "wrong credentials, too often")
}

// A viewer who is removed between SETUP and PLAY does not get to watch.
func TestRemovedViewer(t *testing.T) {
	t.Parallel()
	var path string
	w := newWorld(t, guarded(t, "nvr:right-secret\n"), func(c *gateway.Config) { path = c.Viewers })
	newFakeWithSound(t, w)
	c := talk(t, w)
	c.wants(t, "401", "DESCRIBE", w.rtsp)
	track, nonce := w.rtsp+"/trackID=0", c.nonce(t)
	c.wants(t, "200", "SETUP", track, interleaved, digest("MD5", "nvr", "right-secret", nonce, "SETUP", track))
	if err := viewers.Remove(path, "nvr"); err != nil {
		t.Fatal(err)
	}
	c.wants(t, "401", "PLAY", w.rtsp, digest("MD5", "nvr", "right-secret", nonce, "PLAY", w.rtsp))
}
