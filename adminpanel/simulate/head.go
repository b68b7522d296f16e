package simulate

import (
	"context"
	"fmt"
	"io"
	"sync"

	"slipstream/agent/link"
	"slipstream/slots/fetch"
	"slipstream/verify"
)

// head is what a device believes of a package.
type head struct {
	version string
	digest  string
	size    int64
}

// heads are those that this process has read, by URL: a panel's release is the same file for
// ever. Which panel it is does not matter, for a fleet has one.
type heads struct {
	mu    sync.Mutex // guards known, not the reading
	known map[string]*reading
}

// reading is a head that one device reads and others wait for.
type reading struct {
	mu   sync.Mutex // held while somebody reads
	head *head      // nil: nobody has
}

// maxHeads bounds what is remembered; beyond it each device reads for itself.
const maxHeads = 1000

func (h *heads) read(ctx context.Context, id *link.Identity, url string) (head, error) {
	r := h.of(url)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head != nil {
		return *r.head, nil
	}
	fresh, err := readHead(ctx, id, url)
	if err != nil {
		return head{}, err
	}
	r.head = &fresh
	return fresh, nil
}

func (h *heads) of(url string) *reading {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, ok := h.known[url]; ok {
		return r
	}
	r := &reading{}
	if h.known == nil {
		h.known = map[string]*reading{}
	}
	if len(h.known) < maxHeads {
		h.known[url] = r
	}
	return r
}

// readHead asks for as much of a package as says what it is.
func readHead(ctx context.Context, id *link.Identity, url string) (head, error) {
	file, err := fetch.Open(fetch.Over(id), url)
	if err != nil {
		return head{}, err
	}
	defer file.Close()
	r := &ranges{ctx: ctx, file: file}
	if err := r.ahead(); err != nil {
		return head{}, fmt.Errorf("fetch the package: %w", err)
	}
	p, err := verify.Unverified(r, file.Size())
	if err != nil {
		return head{}, err
	}
	return head{p.Manifest.Version, p.Digest, file.Size()}, nil
}

// download reads all of a package and keeps nothing.
func (h head) download(ctx context.Context, id *link.Identity, url string) error {
	file, err := fetch.Open(fetch.Over(id), url)
	if err != nil {
		return err
	}
	defer file.Close()
	body, err := file.Range(ctx, 0, h.size)
	if err != nil {
		return fmt.Errorf("fetch the package: %w", err)
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// ranges is a file on a server as [verify.Unverified] reads it.
type ranges struct {
	ctx   context.Context
	file  *fetch.File
	first []byte
}

// readAhead is asked for at once: most heads are within it.
const readAhead = 64 << 10

func (r *ranges) ahead() (err error) {
	r.first, err = r.part(0, readAhead)
	return err
}

func (r *ranges) part(off, n int64) ([]byte, error) {
	body, err := r.file.Range(r.ctx, off, n)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// ReadAt implements [io.ReaderAt].
func (r *ranges) ReadAt(p []byte, off int64) (int, error) {
	if off >= 0 && off+int64(len(p)) <= int64(len(r.first)) {
		return copy(p, r.first[off:]), nil
	}
	got, err := r.part(off, int64(len(p)))
	n := copy(p, got)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}
