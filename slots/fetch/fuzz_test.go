package fetch_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"slipstream/slots/fetch"
)

// script is a server that says what the fuzzer wants, one answer for each request.
type script struct {
	in   *bufio.Reader
	last *http.Response // before it was judged
	body bytes.Buffer   // what was read of it
	rest io.Reader
	urls []string

	at    int          // first byte that was asked for
	bytes map[int]byte // of the file, as they came last
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.urls = append(s.urls, req.URL.Scheme+"://"+req.URL.Host)
	s.fold()
	if _, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &s.at); err != nil {
		return nil, err
	}
	if s.rest != nil { // the next answer begins where this one ends
		if _, err := io.Copy(io.Discard, s.rest); err != nil {
			return nil, err
		}
	}
	resp, err := http.ReadResponse(s.in, req)
	if err != nil {
		return nil, err
	}
	kept := *resp
	kept.Header = resp.Header.Clone()
	s.last, s.rest = &kept, resp.Body
	s.body.Reset()
	resp.Body = io.NopCloser(io.TeeReader(s.rest, &s.body))
	return resp, nil
}

// fold takes in what was read of the last answer.
func (s *script) fold() {
	if s.bytes == nil {
		s.bytes = map[int]byte{}
	}
	for i, b := range s.body.Bytes() {
		s.bytes[s.at+i] = b
	}
}

var rangeRE = regexp.MustCompile(`^bytes (0|[1-9][0-9]*)-(0|[1-9][0-9]*)/([1-9][0-9]*)$`)

// right says, in other words than the package, what an answer must be.
func (s *script) right(off, n int64) (size int64, tag string, err error) {
	h := s.last.Header
	if s.last.StatusCode != 206 || len(h["Content-Range"]) != 1 {
		return 0, "", fmt.Errorf("status %d, ranges %q", s.last.StatusCode, h["Content-Range"])
	}
	m := rangeRE.FindStringSubmatch(h["Content-Range"][0])
	if m == nil {
		return 0, "", fmt.Errorf("range %q", h["Content-Range"])
	}
	var number [3]int64
	for i := range number {
		if number[i], err = strconv.ParseInt(m[i+1], 10, 64); err != nil {
			return 0, "", err
		}
	}
	if number[0] != off || number[1] != min(off+n, number[2])-1 {
		return 0, "", fmt.Errorf("range %v for %d bytes from %d on", number, n, off)
	}
	for _, coding := range h["Content-Encoding"] {
		if coding != "" && coding != "identity" {
			return 0, "", fmt.Errorf("coding %q", coding)
		}
	}
	if int64(s.body.Len()) != number[1]-number[0]+1 {
		return 0, "", fmt.Errorf("%d bytes for the range %v", s.body.Len(), number)
	}
	return number[2], strings.Join(h["Etag"], ", "), nil
}

// FuzzServer: whatever answers come, what is handed out is the body of one that
// was right, of the file of the first, and only the server named is asked.
func FuzzServer(f *testing.F) {
	answer := func(first, last, size int, more, body string) string {
		return fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\n%s\r\n%s", first, last, size, more, body)
	}
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	good := answer(0, 15, 40, "ETag: \"a\"\r\n"+length(16), "0123456789abcdef")
	f.Add([]byte(good + answer(16, 31, 40, "ETag: \"a\"\r\n"+length(16), "0123456789abcdef") +
		answer(32, 39, 40, "ETag: \"a\"\r\n"+length(8), "01234567") + answer(8, 11, 40, "ETag: \"a\"\r\n"+length(4), "89ab")))
	f.Add([]byte(good + answer(16, 31, 40, "ETag: \"b\"\r\n"+length(16), "0123456789abcdef")))
	f.Add([]byte(answer(0, 15, 16, "Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n6\r\nabcdef\r\n0\r\n\r\n")))
	f.Add([]byte(answer(0, 15, 16, "Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n7\r\nabcdefg\r\n0\r\n\r\n")))
	f.Add([]byte(answer(0, 15, 40, "", "0123456789abcdef")))
	f.Add([]byte(answer(0, 15, 40, "Content-Encoding: gzip\r\n"+length(16), "0123456789abcdef")))
	f.Add([]byte(answer(0, 15, 40, "Content-Type: multipart/byteranges; boundary=x\r\n"+length(16), "0123456789abcdef")))
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n" + good))
	f.Add([]byte("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://other.invalid/\r\nContent-Length: 0\r\n\r\n" + good))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &script{in: bufio.NewReader(bytes.NewReader(data))}
		file := opened(t, s, "https://camera.invalid/x.slip")
		var size int64
		var tag string
		for _, want := range [][2]int64{{0, 16}, {16, 16}, {32, 16}, {8, 4}} {
			off, n := want[0], want[1]
			got, err := readRange(t, file, off, n)
			if err != nil {
				continue
			}
			total, name, err := s.right(off, n)
			if err != nil {
				t.Fatalf("took %q: %v", got, err)
			}
			if !bytes.Equal(got, s.body.Bytes()) {
				t.Fatalf("read %q of %q", got, s.body.Bytes())
			}
			if size != 0 && (total != size || name != tag) {
				t.Fatalf("took %d bytes of file %q, the first was %q of %d", total, name, tag, size)
			}
			size, tag = total, name
		}
		for _, url := range s.urls {
			if url != "https://camera.invalid" {
				t.Fatalf("asked %s", url)
			}
		}
	})
}

// readRange reads one range in small pieces. What comes before an error is less
// than was asked for.
func readRange(t *testing.T, file *fetch.File, off, n int64) ([]byte, error) {
	t.Helper()
	r, err := file.Range(t.Context(), off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var got []byte
	for piece := make([]byte, 5); ; {
		k, err := r.Read(piece)
		got = append(got, piece[:k]...)
		if int64(len(got)) > n {
			t.Fatalf("%d bytes were asked for, %q came", n, got)
		}
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			if min(off+n, file.Size())-off == int64(len(got)) {
				t.Fatalf("all of %q came before %v", got, err)
			}
			return nil, err
		}
	}
}

// FuzzDownload: whatever answers come, one after the other, a download ends, and
// what it has handed out by then is the file as it came, each byte at its place.
func FuzzDownload(f *testing.F) {
	answer := func(first, last int, body string) string {
		return fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/24\r\nETag: \"a\"\r\nContent-Length: %d\r\n\r\n%s",
			first, last, last-first+1, body)
	}
	short := "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-23/24\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n0123456789"
	pieces := "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-23/24\r\nETag: \"a\"\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"
	busy := "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
	f.Add([]byte(answer(0, 23, "0123456789abcdef01234567")))
	f.Add([]byte(short + answer(10, 23, "abcdef01234567")))
	f.Add([]byte(pieces + busy + answer(10, 23, "abcdef01234567")))
	f.Add([]byte(busy + short + answer(10, 23, "ab")))
	f.Add([]byte(short + "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n0123456789abcdef01234567"))
	f.Add([]byte(short + "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n" + answer(10, 23, "abcdef01234567")))
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := &script{in: bufio.NewReader(bytes.NewReader(data))}
			d := fetch.Begin(opened(t, s, "https://camera.invalid/x.slip"), fetch.Limits{Attempts: 4})
			got, err := read(t.Context(), d, 24)
			s.fold()
			if err == nil && int64(len(got)) != min(24, d.Size()) || len(got) > 24 {
				t.Fatalf("%d bytes of %d, %v", len(got), d.Size(), err)
			}
			for i, b := range got {
				if came, ok := s.bytes[i]; !ok || came != b {
					t.Fatalf("byte %d of %q is %q", i, got, came)
				}
			}
			if most := 4 * (fetch.MaxRedirects + 1); len(s.urls) > most {
				t.Fatalf("asked %d times", len(s.urls))
			}
		})
	})
}
