package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// File is one file on a server. Its methods may be called at once.
type File struct {
	client  *http.Client
	address string

	mu   sync.Mutex // guards what the first answer said
	size int64      // 0: nobody has answered yet
	tag  string
}

// Open asks nobody for anything yet. The client is one of [NewClient] or [Over].
func Open(client *http.Client, address string) (*File, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("not an http:// or https:// address")
	}
	return &File{client: client, address: address}, nil
}

// Size is the file's, 0 before the first answer.
func (f *File) Size() int64 {
	size, _ := f.first()
	return size
}

func (f *File) first() (size int64, tag string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size, f.tag
}

// Range returns a reader of n bytes from off on, or fewer at the end of the file.
// The reader gives all of them or fails, and never more. The context ends it.
func (f *File) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if err := checkRange(off, n); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	if _, tag := f.first(); tag != "" && !strings.HasPrefix(tag, "W/") { // weak ones never match there
		req.Header.Set("If-Match", tag)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, unanswered(err)
	}
	n, err = f.take(resp, off, n)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return &body{ReadCloser: resp.Body, left: n, length: n}, nil
}

func checkRange(off, n int64) error {
	if off < 0 || n <= 0 || off > math.MaxInt64-n {
		return fmt.Errorf("there is no range of %d bytes from %d on", n, off)
	}
	return nil
}

// take judges an answer's header, and returns how many bytes must follow.
func (f *File) take(resp *http.Response, off, n int64) (int64, error) {
	if err := status(resp); err != nil {
		return 0, err
	}
	n, size, err := ranged(resp, off, n)
	if err != nil {
		return 0, hopeless{err, elsehow}
	}
	tag := resp.Header.Get("ETag")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size == 0 {
		f.size, f.tag = size, tag
	}
	if size != f.size || tag != f.tag || len(resp.Header.Values("ETag")) > 1 {
		return 0, hopeless{ErrChanged, "stage it again"}
	}
	return n, nil
}

func (f *File) Close() { f.client.CloseIdleConnections() }
