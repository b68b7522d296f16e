package slots

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/slots/verity"
)

// Limits of what is stored.
const (
	MaxManifest = 5 << 20 // bytes of the signed head
	MaxChunk    = 1 << 20 // bytes of one chunk, which is in memory whole
	MaxChunks   = 65_536  // chunks of an image
	MaxEntries  = 65_536  // files, directories and links of a tree
	MaxImage    = 4 << 30 // bytes of an image
)

// States of a slot.
const (
	StateEmpty   = "empty"
	StateWriting = "writing" // being written, or interrupted while it was
	StateStaged  = "staged"  // written, read back, whole
	StateBroken  = "broken"  // its state file or its root cannot be read
)

var (
	// ErrLocked means that another process has the slots open.
	ErrLocked = errors.New("another process uses the slots")
	// ErrContent means that an image is not what was signed.
	ErrContent = errors.New("the image is not the signed one")
	// ErrDamaged means that a slot no longer holds what was staged.
	ErrDamaged = errors.New("the slot does not hold what was staged")
	// ErrNotStaged means that a slot has no whole version.
	ErrNotStaged = errors.New("nothing is staged there")
	// ErrInUse means that the slot that runs was to be written.
	ErrInUse = errors.New("the slot is in use")
	// ErrSource means that the image cannot be read from where it comes. Staging
	// it again goes on from there.
	ErrSource = errors.New("the package cannot be read any further")
	// ErrTooLarge means that an image does not fit into its partition.
	ErrTooLarge = errors.New("the image is too large for the slot")
	// ErrNoSpace means that an image does not fit on its disk.
	ErrNoSpace = fmt.Errorf("too little space for the image: %w", unix.ENOSPC)
	// ErrKind means that a slot cannot hold images of a kind.
	ErrKind = errors.New("the slot cannot hold this kind of image")
)

const (
	lockName     = "lock"
	stateName    = "state.json"
	manifestName = "head.tar"
	rootName     = "root"
)

var names = []string{"a", "b"}

// Set is the two slots of one class. Its methods may be called at any time; two
// that change the same slot wait for each other.
type Set struct {
	dir  string
	lock *os.File
	root *os.Root                 // for reading
	disk disk                     // for writing
	busy map[string]chan struct{} // full while a slot is being changed

	partitions map[string]string // as [Options] has them

	open  context.Context // ends with Close
	close context.CancelFunc

	mu       sync.Mutex
	verified map[string]verification // guarded by mu
}

// Open opens the slots in dir, which is made if it is missing, and keeps other
// processes out until Close.
func Open(dir string, o Options) (*Set, error) {
	s, err := open(dir, o, func(d rootDisk) disk { return d })
	if err != nil {
		return nil, fmt.Errorf("slots: open %s: %w", dir, err)
	}
	return s, nil
}

func open(dir string, o Options, wrap func(rootDisk) disk) (*Set, error) {
	if err := checkPartitions(o.Partitions); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := MakeDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	d, err := openDisk(dir)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s := &Set{
		dir: dir, lock: lock, root: d.root, disk: wrap(d), partitions: o.Partitions,
		busy: make(map[string]chan struct{}), verified: make(map[string]verification),
	}
	s.open, s.close = context.WithCancel(context.Background())
	for _, name := range names {
		s.busy[name] = make(chan struct{}, 1)
	}
	if err := s.makeSlots(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Set) makeSlots() error {
	for _, name := range names {
		if err := s.makeSlot(name); err != nil {
			return err
		}
	}
	return s.disk.SyncDir(".")
}

// makeSlot makes the directory, or finishes a Clear that was interrupted.
func (s *Set) makeSlot(name string) error {
	if _, err := s.root.Stat(name); err != nil {
		return s.disk.Mkdir(name)
	}
	if st, err := s.readState(name); err != nil || st.State != StateEmpty {
		return nil
	}
	return s.removeFiles(name)
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDONLY, fileMode)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close ends what is under way, as if its context had ended, and lets other processes
// in. The lock is given up explicitly: a process that is just being started still has
// a copy of everything open here.
func (s *Set) Close() error {
	s.close()
	for _, name := range names {
		s.busy[name] <- struct{}{}
		defer func() { <-s.busy[name] }()
	}
	return errors.Join(s.disk.Close(), unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
}

// Status is what a slot holds.
type Status struct {
	State      string
	Digest     string // package digest
	Version    string
	SHA256     string // signed hash of the image, lower-case hex
	Size       int64  // bytes of the image
	Kind       string
	By         string // who staged it
	StagedAt   time.Time
	VerifiedAt time.Time      // when this process last read it whole; zero: it has not yet
	Index      bool           // whether the next version can be made from its chunks
	Verity     *verity.Params // as Content had them
	Mount      string         // MountNone, MountPlain or MountVerity
	Cost       *Report        // of the stage that wrote it, but for its own note; nil: an older agent did
}

// Status never waits for a stage under way. It fails for an unknown name, and when
// the kernel does not say what is mounted.
func (s *Set) Status(name string) (Status, error) {
	if err := checkName(name); err != nil {
		return Status{}, err
	}
	st, err := s.readState(name)
	if err != nil {
		return Status{State: StateBroken}, nil
	}
	status := Status{
		State: st.State, Digest: st.Digest, Version: st.Version,
		SHA256: st.SHA256, Size: st.Size, Kind: st.Kind, By: st.By, StagedAt: st.StagedAt, Verity: st.Verity,
		VerifiedAt: s.lastVerified(name).at, Index: s.hasIndex(name), Cost: st.Cost,
	}
	if st.State == StateStaged && !s.present(name, st.Kind) {
		status.State = StateBroken
	}
	if st.State == StateStaged && mounted(st.Kind) {
		if status.Mount, err = s.mountState(name, st); err != nil {
			return Status{}, fmt.Errorf("slots: status of slot %s: %w", name, err)
		}
	}
	return status, nil
}

// present says whether that is there which holds a staged version, without a look
// at what is in it.
func (s *Set) present(name, kind string) bool {
	if kind != KindTree {
		_, err := os.Stat(s.imagePath(name))
		return err == nil
	}
	info, err := s.root.Lstat(name + "/" + rootName)
	return err == nil && info.IsDir()
}

func (s *Set) hasIndex(name string) bool {
	info, err := s.root.Lstat(name + "/" + chunksName)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// Root is the directory of a slot's files.
func (s *Set) Root(name string) string { return filepath.Join(s.dir, name, rootName) }

// Manifest returns the signed head that came with a staged version.
func (s *Set) Manifest(name string) ([]byte, error) {
	if _, err := s.staged(name); err != nil {
		return nil, err
	}
	raw, err := s.readFile(name+"/"+manifestName, MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("slots: manifest of slot %s: %w", name, err)
	}
	return raw, nil
}

// Verify reads all files of a staged version and compares them with the signed
// hash of its image. It changes nothing, and keeps others from changing the slot.
func (s *Set) Verify(ctx context.Context, name string) error {
	ctx, end := s.whileOpen(ctx)
	defer end()
	st, done, err := s.claimStaged(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	if err := s.verify(ctx, name, st, cached); err != nil {
		return fmt.Errorf("slots: verify slot %s: %w", name, err)
	}
	return nil
}

// verify is compare, and remembers what that has shown.
func (s *Set) verify(ctx context.Context, name string, st state, from source) error {
	seen := s.sightOf(name, st.Kind)
	err := s.compare(ctx, name, st, from)
	switch {
	case err == nil:
		s.setVerified(name, seen)
	case errors.Is(err, ErrDamaged):
		s.forgetVerified(name)
	}
	return err
}

// claimStaged claims a slot that holds a version. It does not wait for a stage under
// way: with that there is none.
func (s *Set) claimStaged(ctx context.Context, name string) (st state, done func(), err error) {
	if _, err := s.staged(name); err != nil {
		return state{}, nil, err
	}
	if done, err = s.claim(ctx, name); err != nil {
		return state{}, nil, err
	}
	if st, err = s.staged(name); err != nil { // by now another may be there, or none
		done()
		return state{}, nil, err
	}
	return st, done, nil
}

// claim waits until nothing else changes a slot.
func (s *Set) claim(ctx context.Context, name string) (done func(), err error) {
	select {
	case s.busy[name] <- struct{}{}:
		done = func() { <-s.busy[name] }
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.open.Err() != nil {
		done()
		return nil, fmt.Errorf("the slots are closed: %w", fs.ErrClosed)
	}
	return done, nil
}

// whileOpen is a context that ends with the set as well.
func (s *Set) whileOpen(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.open, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// Clear empties a slot. One in use stays as it is, and the error is [ErrBusy].
func (s *Set) Clear(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	done, err := s.claim(context.Background(), name)
	if err != nil {
		return fmt.Errorf("slots: clear slot %s: %w", name, err)
	}
	defer done()
	if err := s.release(name); err != nil {
		return fmt.Errorf("slots: clear slot %s: %w", name, err)
	}
	s.forgetVerified(name)
	if err := s.empty(name); err != nil {
		return fmt.Errorf("slots: clear slot %s: %w", name, err)
	}
	return nil
}

// empty takes the state away first, so that no crash leaves "staged" on a slot
// that is not whole. It needs no space, so it works on a full disk. Files that a
// crash leaves behind are removed by the next Open.
func (s *Set) empty(name string) error {
	if err := s.disk.Remove(name + "/" + stateName); err != nil {
		return err
	}
	if err := s.disk.SyncDir(name); err != nil {
		return err
	}
	return s.removeFiles(name)
}

// slotFiles are all that may be in a slot's directory, but for the state.
var slotFiles = []string{
	rootName, imageName, partName, journalName, chunksName, chunksName + fresh,
	manifestName, manifestName + fresh, stateName + fresh,
}

// removeFiles removes all but the state. What of it a power cut brings back is
// removed when the slots are opened, or written.
func (s *Set) removeFiles(name string) error {
	var errs []error
	for _, file := range slotFiles {
		errs = append(errs, s.disk.Remove(name+"/"+file))
	}
	return errors.Join(errs...)
}

func (s *Set) staged(name string) (state, error) {
	if err := checkName(name); err != nil {
		return state{}, err
	}
	st, err := s.readState(name)
	if err == nil && st.State != StateStaged {
		err = ErrNotStaged
	}
	if err != nil {
		return state{}, fmt.Errorf("slots: slot %s: %w", name, err)
	}
	return st, nil
}

func (s *Set) readFile(name string, limit int64) ([]byte, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("it is longer than %d bytes", limit)
	}
	return raw, err
}

func checkName(name string) error {
	if !slices.Contains(names, name) {
		return fmt.Errorf("slots: there is no slot %q", name)
	}
	return nil
}

func hexSum(sum [32]byte) string { return hex.EncodeToString(sum[:]) }
