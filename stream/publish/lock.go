package publish

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LockSize is the length of the lock's memfd in bytes; the lock word, a futex in
// the machine's byte order, is its first four.
const LockSize = 4096

// Bits of the lock word (Linux Documentation/locking/robust-futex-ABI.rst).
const (
	LockOwner   = 0x3fffffff // the thread that holds it, by its own number for itself
	LockDied    = 0x40000000 // set by the kernel, in place of the owner, when that thread has died
	LockWaiters = 0x80000000 // set from the start: the kernel wakes waiters only then
)

// lockSeals fix the file's size, so that nobody who maps it can be made to touch
// what is not there.
const lockSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// processLock is the one lock of this process, held from the first use to the
// end. There is none where the kernel does not allow it: the forwarder then
// learns of our death a little later.
var processLock = sync.OnceValues(holdLock)

// robustList tells the kernel which words the thread that registered it holds.
// The kernel reads it when that thread has died, so it must never move: it is a
// global variable.
var robustList struct {
	head struct { // struct robust_list_head
		first   uintptr
		offset  int // from an entry to its lock word
		pending uintptr
	}
	entry struct { // struct robust_list
		next uintptr
	}
}

// holdLock makes the lock and leaves a thread behind that holds it for as long
// as the process lives. A thread of its own, because a robust list belongs to a
// thread and Go moves goroutines between them.
func holdLock() (memfd int, err error) {
	memfd, err = unix.MemfdCreate("slipstream-lock", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, fmt.Errorf("publish: make the lock: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(memfd)
		}
	}()
	if err := unix.Ftruncate(memfd, LockSize); err != nil {
		return -1, fmt.Errorf("publish: size the lock: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(memfd), unix.F_ADD_SEALS, lockSeals); err != nil {
		return -1, fmt.Errorf("publish: seal the lock: %w", err)
	}
	page, err := unix.Mmap(memfd, 0, LockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return -1, fmt.Errorf("publish: map the lock: %w", err)
	}
	held := make(chan error)
	go func() {
		runtime.LockOSThread()
		held <- takeLock((*uint32)(unsafe.Pointer(&page[0])))
		select {} // keeps the thread, and with it the lock
	}()
	if err := <-held; err != nil {
		return -1, fmt.Errorf("publish: hold the lock: %w", err)
	}
	return memfd, nil
}

// takeLock makes the calling thread the owner of word.
func takeLock(word *uint32) error {
	r := &robustList
	r.entry.next = uintptr(unsafe.Pointer(&r.head))
	r.head.first = uintptr(unsafe.Pointer(&r.entry))
	r.head.offset = int(uintptr(unsafe.Pointer(word)) - r.head.first)
	if _, _, errno := unix.Syscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(&r.head)), unsafe.Sizeof(r.head), 0); errno != 0 {
		return errno
	}
	atomic.StoreUint32(word, uint32(unix.Gettid())|LockWaiters)
	return nil
}
