package powercut

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Disk is a mounted file system that writes down what happens to it.
type Disk struct {
	Dir string // where it is mounted

	callers sync.WaitGroup // who answers the server

	mu     sync.Mutex // guards what follows: one question at a time
	server *exec.Cmd
	ask    *gob.Encoder
	answer *gob.Decoder
	stdin  io.Closer
	base   tree
	ops    []Op
}

// question is what a disk's server is asked; answer is what has happened since
// the one before.
type question struct {
	Mark  *Op
	Fault *Fault
}

type answer struct {
	Error string
	Steps int // since the fault was set
	Ops   []Op
}

// order is what a server begins with.
type order struct {
	Dir  string
	Base tree
}

// serverEnv marks a process as a disk's server.
const serverEnv = "SLIPSTREAM_POWERCUT_SERVER"

// A server is this very program. Its main function, a test's, must not run then,
// and it need not know of us.
func init() {
	if os.Getenv(serverEnv) == "" {
		return
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Mount mounts a disk on a directory. On it is what the state says; nil is a new
// one. It needs root and /dev/fuse.
func Mount(dir string, from *State) (*Disk, error) {
	d := &Disk{Dir: dir, base: newTree()}
	if from != nil {
		d.base = from.files
	}
	d.server = exec.Command("/proc/self/exe")
	d.server.Env = append(os.Environ(), serverEnv+"=1")
	d.server.Stderr = os.Stderr
	if err := d.start(); err != nil {
		return nil, fmt.Errorf("powercut: start the disk's server: %w", err)
	}
	err := d.ask.Encode(order{dir, d.base})
	if err == nil {
		_, err = d.question(question{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("powercut: mount %s: %w", dir, err), d.Close())
	}
	return d, nil
}

// start starts the server with two pairs of pipes: we ask, and it asks who flushes.
func (d *Disk) start() error {
	in, err := d.server.StdinPipe()
	if err != nil {
		return err
	}
	out, err := d.server.StdoutPipe()
	if err != nil {
		return err
	}
	asked, asks, err := os.Pipe()
	if err != nil {
		return err
	}
	told, tells, err := os.Pipe()
	if err != nil {
		return errors.Join(err, asked.Close(), asks.Close())
	}
	d.server.ExtraFiles = []*os.File{asks, told}
	err = d.server.Start()
	if err = errors.Join(err, asks.Close(), told.Close()); err != nil {
		return errors.Join(err, asked.Close(), tells.Close())
	}
	d.stdin, d.ask, d.answer = in, gob.NewEncoder(in), gob.NewDecoder(out)
	d.callers.Go(func() {
		tellCallers(d.Dir, asked, tells)
		asked.Close()
		tells.Close()
	})
	return nil
}

func (d *Disk) question(q question) (answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask.Encode(q); err != nil {
		return answer{}, err
	}
	var a answer
	if err := d.answer.Decode(&a); err != nil {
		return a, err
	}
	d.ops = append(d.ops, a.Ops...)
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Mark writes down what the test knows at this instant, such as that a call has
// returned. What has happened before it is before it in the log.
func (d *Disk) Mark(what string) error {
	_, err := d.question(question{Mark: &Op{Kind: Mark, Name: what}})
	return err
}

// Settle flushes everything: what a test has laid out before it begins.
func (d *Disk) Settle() error {
	_, err := d.question(question{Mark: &Op{Kind: SyncAll}})
	return err
}

// Fail sets a fault, or takes it away.
func (d *Disk) Fail(f Fault) error {
	_, err := d.question(question{Fault: &f})
	return err
}

// Steps returns how many operations there were since the fault was set.
func (d *Disk) Steps() (int, error) {
	a, err := d.question(question{})
	return a.Steps, err
}

// Log returns all that has happened so far.
func (d *Disk) Log() (Log, error) {
	_, err := d.question(question{})
	return Log{Base: d.base, Ops: d.ops}, err
}

// Close unmounts the disk. Whoever still uses it gets errors.
func (d *Disk) Close() error {
	d.stdin.Close()
	defer d.callers.Wait()
	if err := d.server.Wait(); err != nil {
		return fmt.Errorf("powercut: the disk's server: %w", err)
	}
	return nil
}

// serve mounts a disk and answers questions until there are no more.
func serve(in io.Reader, out io.Writer) error {
	questions, answers := gob.NewDecoder(in), gob.NewEncoder(out)
	var o order
	if err := questions.Decode(&o); err != nil {
		return err
	}
	s := newServer(o.Base)
	s.asks, s.told = gob.NewEncoder(os.NewFile(3, "asks")), gob.NewDecoder(os.NewFile(4, "told"))
	mounted, err := fuse.NewServer(s, o.Dir, &fuse.MountOptions{
		FsName: "powercut", Name: "powercut", AllowOther: true, Options: []string{"default_permissions"},
		DirectMountStrict: true, DirectMountFlags: unix.MS_NODEV, DisableXAttrs: true, DisableReadDirPlus: true, MaxWrite: 1 << 20,
	})
	if err != nil {
		return err
	}
	go mounted.Serve()
	if err := mounted.WaitMount(); err != nil {
		return err
	}
	for {
		var q question
		if questions.Decode(&q) != nil { // nobody is left to ask, or to unmount it
			return syscall.Unmount(o.Dir, unix.MNT_DETACH)
		}
		if err := answers.Encode(s.tell(q)); err != nil {
			return errors.Join(err, syscall.Unmount(o.Dir, unix.MNT_DETACH))
		}
	}
}

// tell does what was asked for and returns what is new in the log.
func (s *server) tell(q question) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Mark != nil {
		s.ops = append(s.ops, *q.Mark)
	}
	a := answer{Steps: s.steps, Ops: s.ops}
	s.ops = nil
	if q.Fault != nil {
		s.fault, s.steps = *q.Fault, 0
	}
	return a
}
