package powercut

import (
	"errors"
	"io"
	"maps"
	"os"
	"sync"
)

// volatileDisk is one with a cache that forgets: what is written is in memory, and in
// its file when it is flushed. It can be told to lose its power.
type volatileDisk struct {
	file *os.File
	size int64

	mu     sync.Mutex // guards what follows
	cache  cache
	over   sectors // what the cache holds, newest
	writes int     // since it was told to fail
	at     int     // the write behind which the power fails; 0: it does not
	off    chan struct{}
}

var _ blocks = (*volatileDisk)(nil)

func newVolatile(path string) (*volatileDisk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &volatileDisk{file: f, size: info.Size() / Sector * Sector, over: sectors{}, off: make(chan struct{})}, nil
}

// failAt lets the power fail behind the nth write from now on. The channel is closed
// then; the device answers nothing any more.
func (d *volatileDisk) failAt(n int) (off <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes, d.at = 0, n
	return d.off
}

// fail lets the power fail now, unless it has.
func (d *volatileDisk) fail() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed()
}

func (d *volatileDisk) failed() {
	if !d.isOff() {
		close(d.off)
	}
}

func (d *volatileDisk) isOff() bool {
	select {
	case <-d.off:
		return true
	default:
		return false
	}
}

func (d *volatileDisk) Size() int64 { return d.size }

// ReadAt reads whole sectors.
func (d *volatileDisk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isOff() {
		return 0, errOff
	}
	n, err := d.file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	for at := int64(0); at < int64(len(p)); at += Sector {
		if data, is := d.over[(off+at)/Sector]; is {
			copy(p[at:], data)
		}
	}
	return len(p), nil
}

// WriteAt keeps whole sectors in mind, or on storage at once.
func (d *volatileDisk) WriteAt(p []byte, off int64, fua bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isOff() {
		return errOff
	}
	d.writes++
	over := sectors{}
	over.put(write{off, p}, 1, nil)
	maps.Copy(d.over, over)
	d.cache.add(off, p)
	if d.writes == d.at {
		d.failed()
		return errOff // it was not heard to be written
	}
	if !fua {
		return nil
	}
	for n := range over {
		delete(d.over, n)
	}
	d.cache.forget(over)
	return d.keep(over)
}

// Flush brings all to storage.
func (d *volatileDisk) Flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isOff() {
		return errOff
	}
	err := d.keep(d.over)
	if err == nil {
		d.cache.writes, d.over = nil, sectors{}
	}
	return err
}

func (d *volatileDisk) keep(over sectors) error {
	for n, data := range over {
		if _, err := d.file.WriteAt(data, n*Sector); err != nil {
			return err
		}
	}
	return nil
}

// lose is what the power's failure leaves: of what was not flushed as much as chance
// wants. The disk is closed.
func (d *volatileDisk) lose(seed uint64, cut int) (kept, of int, err error) {
	d.fail()
	d.mu.Lock()
	defer d.mu.Unlock()
	left := fateSome.pick(&d.cache, random(seed, cut))
	err = errors.Join(d.keep(left), d.file.Close())
	return len(left), len(d.over), err
}
