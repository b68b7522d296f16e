package powercut

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// disk is what is certain on one, in memory: an image's bytes, which stay as they are
// in the file, and those of all writes that were flushed.
type disk struct {
	bytes  []byte
	used   []bool // whether a block of blockSize may have anything but zeros
	parts  map[string]part
	change map[string]int // how often a partition was changed
}

// part is one partition, in bytes.
type part struct{ from, size int64 }

func (p part) has(off int64) bool { return p.from <= off && off < p.from+p.size }

// blockSize is what holes are looked for in.
const blockSize = 64 << 10

func openDisk(path string) (d *disk, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size < Sector || size > 1<<30 || size%Sector != 0 {
		return nil, fmt.Errorf("%s has %d bytes and is no image of a disk of at most 1 GiB", path, size)
	}
	d = &disk{used: make([]bool, (size+blockSize-1)/blockSize), change: map[string]int{}}
	if d.bytes, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE); err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	err = eachExtent(f, func(off, size int64) error {
		d.mark(off, size)
		return nil
	})
	if err == nil {
		d.parts, err = readTable(d)
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *disk) close() error { return unix.Munmap(d.bytes) }

// eachExtent calls do with what is no hole of a file.
func eachExtent(f *os.File, do func(off, size int64) error) error {
	for at := int64(0); ; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("holes of %s: %w", f.Name(), err)
		}
		if at, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE); err != nil {
			return fmt.Errorf("holes of %s: %w", f.Name(), err)
		}
		if err := do(from, at-from); err != nil {
			return err
		}
	}
}

func (d *disk) mark(off, size int64) {
	for b := off / blockSize; b*blockSize < off+size; b++ {
		d.used[b] = true
	}
}

// holds says whether a write is within the disk.
func (d *disk) holds(off, size int64) bool {
	return off >= 0 && size >= 0 && off <= int64(len(d.bytes))-size
}

// put makes sectors certain.
func (d *disk) put(s sectors) {
	for n, data := range s {
		off := n * Sector
		copy(d.bytes[off:], data)
		d.used[off/blockSize] = true
		for name, p := range d.parts {
			if p.has(off) {
				d.change[name]++
			}
		}
	}
}

// State is a disk as it may be found after a power cut.
type State struct {
	disk *disk
	over sectors
}

// ReadAt implements io.ReaderAt.
func (s *State) ReadAt(p []byte, off int64) (int, error) {
	if !s.disk.holds(off, int64(len(p))) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, s.disk.bytes[off:])
	for at := off / Sector * Sector; at < off+int64(n); at += Sector {
		if data, is := s.over[at/Sector]; is {
			if at < off {
				copy(p, data[off-at:])
			} else {
				copy(p[at-off:], data)
			}
		}
	}
	return n, nil
}

// Part reads one partition.
func (s *State) Part(name string) *io.SectionReader {
	p := s.disk.parts[name]
	return io.NewSectionReader(s, p.from, p.size)
}

// touched says whether any of what lies over the disk lies in a partition.
func (s *State) touched(name string) bool {
	p := s.disk.parts[name]
	for n := range s.over {
		if p.has(n * Sector) {
			return true
		}
	}
	return false
}

// write copies a partition to a file, which is empty, and leaves holes.
func (s *State) write(name string, to *os.File) error {
	p := s.disk.parts[name]
	if err := to.Truncate(p.size); err != nil {
		return err
	}
	for b, used := range s.disk.used {
		from := max(int64(b)*blockSize, p.from)
		end := min(int64(b+1)*blockSize, p.from+p.size)
		if !used || from >= end {
			continue
		}
		if _, err := to.WriteAt(s.disk.bytes[from:end], from-p.from); err != nil {
			return err
		}
	}
	for n, data := range s.over {
		if off := n * Sector; p.has(off) {
			if _, err := to.WriteAt(data, off-p.from); err != nil {
				return err
			}
		}
	}
	return nil
}
