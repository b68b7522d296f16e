package slots

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sector is what addresses, places and lengths have to be multiples of when a
// disk is used past the page cache. 4 KiB suits every disk that we know of.
const sector = 4096

func sectorDown(n int64) int64 { return n &^ (sector - 1) }
func sectorUp(n int64) int64   { return sectorDown(n + sector - 1) }

// imageFile is the real diskImage. Whole sectors go past the page cache where
// the file system can do that: an image of some hundred megabytes would drive
// the running version's memory out. The ends of a piece go through it; they
// never share a sector with what went past.
type imageFile struct {
	cached *os.File
	direct *os.File // nil: the file system cannot
}

var _ diskImage = (*imageFile)(nil)

func openImage(open func(flag int) (*os.File, error)) (diskImage, error) {
	cached, err := open(0) // before the other, so that it can claim a device
	if err != nil {
		return nil, err
	}
	direct, err := open(unix.O_DIRECT)
	if err != nil {
		direct = nil
	}
	return &imageFile{cached, direct}, nil
}

func (f *imageFile) Resize(size int64) error {
	if err := f.cached.Truncate(size); err != nil {
		return err
	}
	err := unix.Fallocate(int(f.cached.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // the disk will be found full when it is
	}
	return err
}

// WriteAt wants p to be in memory as it is on disk: at the same place of a
// sector. It writes otherwise too, but through the page cache.
func (f *imageFile) WriteAt(p []byte, off int64) (int, error) {
	head := min(int64(len(p)), sectorUp(off)-off)
	whole := sectorDown(int64(len(p)) - head)
	if f.direct == nil || whole == 0 {
		return f.cached.WriteAt(p, off)
	}
	for _, part := range []struct {
		file     *os.File
		from, to int64
	}{{f.cached, 0, head}, {f.direct, head, head + whole}, {f.cached, head + whole, int64(len(p))}} {
		if part.from == part.to {
			continue
		}
		n, err := part.file.WriteAt(p[part.from:part.to], off+part.from)
		if errors.Is(err, unix.EINVAL) && part.file == f.direct {
			n, err = f.cached.WriteAt(p[part.from:part.to], off+part.from)
		}
		if err != nil {
			return int(part.from) + n, err
		}
	}
	return len(p), nil
}

func (f *imageFile) Sync() error { return f.cached.Sync() }

func (f *imageFile) Close() error {
	if f.direct == nil {
		return f.cached.Close()
	}
	return errors.Join(f.cached.Close(), f.direct.Close())
}

// directReader reads a file or a partition past the page cache: what it gives
// is what the disk holds. Where the file system cannot do that, the kernel is
// asked to forget its copy first.
type directReader struct {
	f      *os.File
	cached bool
}

func openDirect(open func(flag int) (*os.File, error)) (*directReader, error) {
	if f, err := open(os.O_RDONLY | unix.O_DIRECT); err == nil {
		return &directReader{f: f}, nil
	}
	f, err := open(os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	r := &directReader{f: f, cached: true}
	r.forget()
	return r, nil
}

// forget drops clean pages; after a sync all are clean. It is only advice: a
// file system without a disk has nothing to drop to.
func (r *directReader) forget() { _ = unix.Fadvise(int(r.f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// span returns n bytes from off on, read into buf, which starts at a sector in
// memory and has room for a sector more at either end.
func (r *directReader) span(buf []byte, off, n int64) ([]byte, error) {
	from := sectorDown(off)
	want := off + n - from // what must be there; the rest of its last sector may not
	got, err := r.f.ReadAt(buf[:sectorUp(want)], from)
	if errors.Is(err, unix.EINVAL) && !r.cached {
		if err := r.unalign(); err != nil {
			return nil, err
		}
		got, err = r.f.ReadAt(buf[:want], from)
	}
	if int64(got) >= want {
		return buf[off-from : want], nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// unalign goes on through the page cache, on a disk whose sectors are larger.
func (r *directReader) unalign() error {
	flags, err := unix.FcntlInt(r.f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(r.f.Fd(), unix.F_SETFL, flags&^unix.O_DIRECT)
	}
	r.cached = true
	r.forget()
	return err
}

func (r *directReader) size() (int64, error) { return r.f.Seek(0, io.SeekEnd) }

func (r *directReader) Close() error { return r.f.Close() }

// window reads small pieces one after the other with few large reads.
type window struct {
	r    *directReader
	mem  []byte
	off  int64  // place of data
	data []byte // within mem
}

const windowBytes = MaxChunk

func newWindow(r *directReader) (*window, error) {
	mem, err := newBuffer(windowBytes)
	return &window{r: r, mem: mem}, err
}

// ReadAt takes at most windowBytes at a time.
func (w *window) ReadAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	if off < w.off || end > w.off+int64(len(w.data)) {
		if err := w.move(off, int64(len(p))); err != nil {
			return 0, err
		}
	}
	return copy(p, w.data[off-w.off:]), nil
}

func (w *window) move(off, need int64) error {
	w.data = nil
	size, err := w.r.size()
	if err != nil {
		return err
	}
	data, err := w.r.span(w.mem, off, max(need, min(windowBytes, size-off)))
	w.off, w.data = off, data
	return err
}

func (w *window) Close() error {
	freeBuffer(w.mem)
	return w.r.Close()
}

// newBuffer is memory for size bytes at any place of a sector. It starts at a
// sector itself, and is not the garbage collector's, which would keep as much
// again in reserve.
func newBuffer(size int64) ([]byte, error) {
	return unix.Mmap(-1, 0, int(size+2*sector), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

func freeBuffer(b []byte) { _ = unix.Munmap(b) } // fails for memory that is not mapped only
