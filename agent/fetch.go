package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"slipstream/agent/config"
	"slipstream/agent/link"
	"slipstream/slots"
	"slipstream/slots/fetch"
	"slipstream/verify"
)

const (
	readAhead = 256 << 10 // bytes fetched at once while a package is judged
	maxBlocks = 8         // of them are kept: its head, and the index behind each image
)

// remote reads a package over HTTP: range by range while it is judged, so that this
// costs little more than its head, and then its image in long ranges. What comes is
// not trusted more than a file is.
type remote struct {
	ctx  context.Context // of whoever asked for the package
	file *fetch.Download
	size int64

	mu     sync.Mutex // guards the read-ahead
	blocks []block    // oldest first
}

// block is a piece of the file that is here.
type block struct {
	off  int64
	data []byte
}

// openRemote asks for the first block, and so learns the size.
func openRemote(ctx context.Context, address string, cfg config.Fetch, panel *link.Identity, log *slog.Logger) (*remote, error) {
	limits := fetchLimits(cfg)
	from, err := fetch.Open(clientFor(address, limits, panel), address)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", shownAddress(address), err)
	}
	file := fetch.Begin(from, limits)
	file.Paused = func(why error, pause time.Duration) {
		log.Warn("download interrupted", "reason", why, "pause", pause)
	}
	r := &remote{ctx: ctx, file: file}
	if _, err := r.fetch(0); err != nil {
		r.Close()
		return nil, fmt.Errorf("fetch %s: %w", shownAddress(address), err)
	}
	r.size = file.Size()
	return r, nil
}

// clientFor shows who this device is to its own panel, and to nobody else.
func clientFor(address string, limits fetch.Limits, panel *link.Identity) *http.Client {
	if panel != nil && panel.Panel() != "" && under(address, panel.Panel()) {
		return fetch.Over(panel)
	}
	return fetch.NewClient(limits)
}

// shownAddress leaves out what may be a secret.
func shownAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the package"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// fetchLimits leaves to the downloader what the configuration does not say.
func fetchLimits(c config.Fetch) fetch.Limits {
	return fetch.Limits{
		Stall: time.Duration(c.StallS) * time.Second, Total: time.Duration(c.TotalMinutes) * time.Minute,
		MinRate: bytesASecond(c.MinKbps), MaxRate: bytesASecond(c.MaxKbps), Attempts: c.Attempts,
	}
}

func bytesASecond(kbps int) int64 { return int64(kbps) * 1000 / 8 }

// under says whether an address lies under the panel's.
func under(address, panel string) bool {
	return strings.HasPrefix(address, strings.TrimSuffix(panel, "/")+"/")
}

// fetch reads the block from off on.
func (r *remote) fetch(off int64) (block, error) {
	body, err := r.file.Range(r.ctx, off, readAhead)
	if err != nil {
		return block{}, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return block{}, err
	}
	got := block{off, data}
	if len(r.blocks) == maxBlocks {
		r.blocks = r.blocks[1:]
	}
	r.blocks = append(r.blocks, got)
	return got, nil
}

// ReadAt serves from the read-ahead.
func (r *remote) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		here := r.here(at)
		if here == nil {
			got, err := r.fetch(at)
			if err != nil {
				return n, fmt.Errorf("fetch: %w", err)
			}
			here = got.data
		}
		n += copy(p[n:], here)
	}
	return n, nil
}

// here is what the read-ahead has from off on, nil if it lacks that byte.
func (r *remote) here(off int64) []byte {
	for _, b := range r.blocks {
		if from := off - b.off; from >= 0 && from < int64(len(b.data)) {
			return b.data[from:]
		}
	}
	return nil
}

// imageIn is where a slot gets a package's image from.
func imageIn(file io.ReaderAt, p *verify.Payload) slots.Source {
	if r, ok := file.(*remote); ok {
		return &remoteImage{r: r, at: p.Offset}
	}
	return slots.File(p.Reader())
}

// remoteImage is an image within a package elsewhere.
type remoteImage struct {
	r     *remote
	at    int64
	given int64 // end of what was given of the read-ahead
}

// Range begins with what was read ahead: no byte is fetched twice, but one that is asked
// for again, since it was not as it must be. It ends with either context.
func (i *remoteImage) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	off += i.at
	var ahead []byte
	if off >= i.given {
		ahead = i.r.ahead(off, n)
		i.given = off + int64(len(ahead))
	}
	if int64(len(ahead)) == n {
		return io.NopCloser(bytes.NewReader(ahead)), nil
	}
	ctx, cancel := context.WithCancel(ctx)
	left := context.AfterFunc(i.r.ctx, cancel)
	end := func() { left(); cancel() }
	rest, err := i.r.file.Range(ctx, off+int64(len(ahead)), n-int64(len(ahead)))
	if err != nil {
		end()
		return nil, err
	}
	return joined{io.MultiReader(bytes.NewReader(ahead), rest), rest, end}, nil
}

// joined is a range of which a part is here already.
type joined struct {
	io.Reader
	rest io.Closer
	end  func()
}

func (j joined) Close() error {
	defer j.end()
	return j.rest.Close()
}

// ahead is what the read-ahead has of n bytes from off on, from the first of them.
func (r *remote) ahead(off, n int64) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	here := r.here(off)
	return here[:min(n, int64(len(here)))]
}

func (r *remote) Close() error {
	r.file.Close()
	return nil
}
