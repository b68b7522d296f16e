package camera

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/stream/publish"
)

// growStep is how much memory the fault "grow" takes at a time, and growPause
// how long it rests between two steps.
const (
	growStep  = 4 << 20
	growPause = 10 * time.Millisecond
)

// announce prints the fault and its time on one line of JSON, the last thing
// that is printed: measuring starts here.
func (c *Camera) announce() {
	line, err := json.Marshal(struct {
		Fault string `json:"fault"`
		Mono  int64  `json:"mono"`
	}{c.config.Fault.Kind, int64(publish.Monotonic())})
	if err != nil {
		panic(err) // a string and a number always marshal
	}
	fmt.Fprintf(c.stdout, "%s\n", line)
}

// misbehave does what the configuration says.
func (c *Camera) misbehave() {
	c.announce()
	switch c.config.Fault.Kind {
	case FaultExit:
		os.Exit(1)
	case FaultSEGV:
		dieBy(unix.SIGSEGV)
	case FaultHang:
		unix.Kill(os.Getpid(), unix.SIGSTOP)
	case FaultStopSending:
		c.silent.Store(true)
	case FaultGrow:
		c.grow()
	case FaultFork:
		fork(c.config.Fault.Processes)
	case FaultSpin:
		spin()
	case FaultReread:
		c.reread()
	}
}

// dieBy ends the process by a signal that Go's runtime would catch.
func dieBy(sig unix.Signal) {
	var dfl [64]byte // struct sigaction, all zero: SIG_DFL; no architecture's is larger
	const maskSize = 8
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&dfl)), 0, maskSize, 0, 0)
	if errno != 0 {
		panic("camera: reset the signal's handler: " + errno.Error()) // no kernel refuses this
	}
	unix.Kill(os.Getpid(), sig)
	select {} // until the signal arrives
}

// grow fills memory, each page touched, and keeps it.
func (c *Camera) grow() {
	for held := 0; held < c.config.Fault.Megabytes<<20; held += growStep {
		block := make([]byte, growStep)
		for i := 0; i < len(block); i += os.Getpagesize() {
			block[i] = 1
		}
		c.hoard = append(c.hoard, block)
		time.Sleep(growPause)
	}
}

// forkPause is how long the first process waits where the kernel refuses it another one.
const forkPause = time.Millisecond

// fork doubles this process until there are so many, each of which does so on its own;
// this one goes on as a camera. Where the kernel refuses, all ask again and again.
func fork(processes int) {
	for n := 1; n < processes; n *= 2 {
		for !again(n*2, processes) {
			time.Sleep(forkPause)
		}
	}
}

// again makes a copy of this process, which does so until there are enough. It is made of
// raw calls alone: in a process's copy nothing else of Go's runtime works.
func again(n, processes int) bool {
	child, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || child != 0 {
		return errno == 0
	}
	for n < processes {
		if _, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0); errno == 0 {
			n *= 2
		}
	}
	for { // until it is ended
		_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// spin has more threads than there are processors do nothing, as fast as they can.
func spin() {
	threads := 2 * runtime.NumCPU()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + threads)
	for range threads {
		go func() {
			for n := 0; ; n++ {
				_ = n
			}
		}()
	}
}

// rereadPause is how long reread rests after it has read everything.
const rereadPause = 500 * time.Millisecond

// reread reads the slot's files again and again, from the disk. It is a fault of the slot
// that it looks for, and what an application does that needs a file and is refused it.
func (c *Camera) reread() {
	for {
		if err := readAll(c.env.Root); err != nil {
			c.log.Error("a file of its slot cannot be read", "err", err)
			os.Exit(1)
		}
		time.Sleep(rereadPause)
	}
}

func readAll(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil { // not from memory
			return err
		}
		_, err = io.Copy(io.Discard, f)
		return err
	})
}
