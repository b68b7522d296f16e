package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"slipstream/stream/viewers"
)

// deviceName is what [guard.Allow] calls the device itself.
const deviceName = "the device"

// guard knows who may watch. Its file is read again whenever it has changed, so
// that a viewer who was removed is refused from then on; those who watch already
// stay. A file that cannot be used lets nobody in.
type guard struct {
	public bool
	path   string // "": nobody may watch but the device itself
	own    string // secret of the device itself; "": it has none
	log    *slog.Logger
	misses missTable

	refused atomic.Uint64 // wrong credentials since the start

	mu      sync.Mutex // guards what follows
	stamp   fileStamp
	secrets map[string]string // by name
	trouble string            // why the file cannot be used, as it was last said
}

// fileStamp tells two states of a file apart.
type fileStamp struct {
	inode          uint64
	size           int64
	changed, wrote syscall.Timespec
}

// newGuard fails on a file that exists and cannot be used. One that does not
// exist yet will be seen when it does.
func newGuard(cfg Config, log *slog.Logger) (*guard, error) {
	g := &guard{public: cfg.Public, path: cfg.Viewers, own: cfg.Secret, log: log}
	if g.public || g.path == "" {
		return g, nil
	}
	if err := g.reload(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("viewers: %w", err)
	}
	return g, nil
}

// reload reads the file if it has changed. The caller holds mu, or is the first.
func (g *guard) reload() error {
	stamp, err := stampOf(g.path)
	if err == nil && stamp == g.stamp && g.secrets != nil {
		return nil
	}
	g.secrets, g.stamp = nil, fileStamp{}
	if err != nil {
		return err
	}
	all, err := viewers.Load(g.path)
	if err != nil {
		return err
	}
	g.secrets, g.stamp = map[string]string{}, stamp
	for _, v := range all {
		g.secrets[v.Name] = v.Secret
	}
	return nil
}

func stampOf(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}, err
	}
	s := info.Sys().(*syscall.Stat_t)
	return fileStamp{s.Ino, s.Size, s.Ctim, s.Mtim}, nil
}

// now returns the viewers of this moment; the map is never changed.
func (g *guard) now() map[string]string {
	if g.path == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	trouble := ""
	if err := g.reload(); err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != g.trouble {
		g.log.Error("nobody is let in: the file of viewers cannot be used", "reason", trouble)
	}
	g.trouble = trouble
	return g.secrets
}

// secret is what a viewer of that name must know. For an unknown one it is a
// secret that nobody knows, so that the two take the same way.
func (g *guard) secret(name string) string {
	if s, ok := g.now()[name]; ok {
		return s
	}
	return nobodys
}

// Allow tells who it is that shows a bearer token, in a time that does not depend
// on how much of it is right.
func (g *guard) Allow(bearer string) (name string, ok bool) {
	shown := sha256.Sum256([]byte(bearer))
	is := func(secret string) bool {
		known := sha256.Sum256([]byte(secret))
		return subtle.ConstantTimeCompare(shown[:], known[:]) == 1
	}
	if g.own != "" && is(g.own) {
		return deviceName, true
	}
	for known, secret := range g.now() {
		if is(secret) {
			name, ok = known, true
		}
	}
	return name, ok
}

// miss counts wrong credentials from an address.
func (g *guard) miss(from netip.Addr, now time.Time) {
	g.refused.Add(1)
	if g.misses.add(from, now) {
		g.log.Warn("wrong credentials, too often: the address has to wait", "from", from, "for", missTime)
	}
}

// locked tells whether an address has to wait because of wrong credentials.
func (g *guard) locked(from netip.Addr, now time.Time) bool { return g.misses.full(from, now) }
