package core

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memorySeals fix a memory's size for good, so that whoever maps it can never be
// made to look past its end.
const memorySeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// memory is a T that outlives the process: a sealed memfd, mapped shared. T is
// plain data, without pointers. It begins as zeros.
type memory[T any] struct {
	fd   int // −1: none
	data *T
}

// newMemory makes one; the kernel shows it by name in /proc.
func newMemory[T any](name string) (memory[T], error) {
	fd, err := unix.MemfdCreate("slipstream-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return memory[T]{fd: -1}, fmt.Errorf("memory for %s: %w", name, err)
	}
	err = unix.Ftruncate(fd, int64(sizeOf[T]()))
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, memorySeals)
	}
	if err != nil {
		unix.Close(fd)
		return memory[T]{fd: -1}, fmt.Errorf("memory for %s: %w", name, err)
	}
	m, err := openMemory[T](fd)
	if err != nil {
		unix.Close(fd)
	}
	return m, err
}

// openMemory maps one that another process has made. The descriptor stays the
// caller's on an error.
func openMemory[T any](fd int) (memory[T], error) {
	none := memory[T]{fd: -1}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return none, fmt.Errorf("map memory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return none, fmt.Errorf("map memory: %w", err)
	}
	if size := sizeOf[T](); seals&memorySeals != memorySeals || st.Size != int64(size) {
		return none, fmt.Errorf("map memory: it has %d bytes and seals %#x, not %d and %#x", st.Size, seals, size, memorySeals)
	}
	at, err := unix.MmapPtr(fd, 0, nil, uintptr(sizeOf[T]()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return none, fmt.Errorf("map memory: %w", err)
	}
	return memory[T]{fd: fd, data: (*T)(at)}, nil
}

// close unmaps it and closes the descriptor; nothing may point into it any more.
func (m *memory[T]) close() {
	if m.data != nil {
		fd := m.fd
		m.unmap()
		unix.Close(fd)
	}
}

// unmap leaves the descriptor to the caller.
func (m *memory[T]) unmap() {
	_ = unix.MunmapPtr(unsafe.Pointer(m.data), uintptr(sizeOf[T]())) // it is ours and whole
	m.fd, m.data = -1, nil
}

func sizeOf[T any]() int {
	var t *T
	return int(unsafe.Sizeof(*t))
}

// text is a short string as plain data.
type text struct {
	n     uint8
	bytes [64]byte
}

func (t *text) set(s string) { t.n = uint8(copy(t.bytes[:], s)) }

func (t *text) String() string { return string(t.bytes[:min(int(t.n), len(t.bytes))]) }
