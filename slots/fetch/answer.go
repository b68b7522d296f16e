package fetch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// ranged checks that the answer is the range asked for, and returns its length and
// that of the whole file.
func ranged(resp *http.Response, off, n int64) (length, size int64, err error) {
	for _, coding := range resp.Header.Values("Content-Encoding") {
		if coding != "" && coding != "identity" {
			return 0, 0, fmt.Errorf("the server has encoded the file by %q, which was not asked for", coding)
		}
	}
	if strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "multipart/") {
		return 0, 0, errors.New("the server answers with several ranges where one was asked for")
	}
	given := strings.Join(resp.Header.Values("Content-Range"), ", ")
	_, total, _ := strings.Cut(given, "/")
	size, err = strconv.ParseInt(total, 10, 64)
	length = min(n, size-off)
	if err != nil || length <= 0 || given != fmt.Sprintf("bytes %d-%d/%d", off, off+length-1, size) {
		return 0, 0, fmt.Errorf("the server's range %q is not the one asked for", given)
	}
	return length, size, nil
}

// body gives as many bytes as the answer said, or an error before the last of them.
type body struct {
	io.ReadCloser
	left, length int64
	err          error // once failed, it stays so
}

func (b *body) Read(p []byte) (int, error) {
	if b.err == nil && b.left == 0 {
		b.err = io.EOF
	}
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		if b.err = b.end(); b.err != nil {
			return 0, b.err
		}
	case errors.Is(err, io.EOF):
		b.err = b.wrongLength()
	case err != nil:
		b.err = fmt.Errorf("the connection broke: %w", err)
	}
	return n, b.err
}

// end makes sure that nothing follows.
func (b *body) end() error {
	switch _, err := io.ReadFull(b.ReadCloser, make([]byte, 1)); {
	case err == nil:
		return hopeless{b.wrongLength(), elsehow}
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("the connection broke: %w", err)
	}
	return nil
}

func (b *body) wrongLength() error {
	return fmt.Errorf("the server's range of %d bytes has another length", b.length)
}
