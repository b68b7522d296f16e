package powercut

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"slipstream/slots"
	"slipstream/slots/boot"
	"slipstream/testrig/machine"
)

var slotNames = []string{"a", "b"}

// Found is what a device's disk says after a power cut, before anything is started.
type Found struct {
	Boot   boot.State
	Record slots.Record
	System map[string]slots.Status // by slot
	Live   map[string]slots.Status
}

// String is short, for errors.
func (f Found) String() string {
	live := f.Record.Live[f.Record.System]
	return fmt.Sprintf("record: system %s (%s) with %s in slot %s; boot loader: permanent %s, trial %q",
		f.Record.System, f.Record.Systems[f.Record.System].Version, live.Version, live.Slot, f.Boot.Permanent, f.Boot.Trial)
}

// looker looks at states of one disk.
type looker struct {
	scratch string            // directory in memory
	parts   map[string]string // files in the place of the systems' partitions, which are read here
	mu      sync.Mutex
	sums    map[sumOf]string
}

func newLooker(scratch string) (*looker, error) {
	l := &looker{scratch: scratch, parts: map[string]string{}, sums: map[sumOf]string{}}
	for _, name := range slotNames {
		l.parts[name] = filepath.Join(scratch, "system-"+name)
		if err := os.WriteFile(l.parts[name], nil, 0o600); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// sumOf names a content of a partition.
type sumOf struct {
	part   string
	change int
	size   int64
}

// look reads a state as the boot loader and the device would, and wants whatever it
// says to be whole to be whole.
func (l *looker) look(ctx context.Context, s *State) (f Found, err error) {
	if _, err := tableIn(s); err != nil {
		return f, fmt.Errorf("table of partitions: %w", err)
	}
	if f.Boot, err = l.bootState(s); err != nil {
		return f, err
	}
	image, err := os.OpenFile(l.scratch, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err != nil {
		return f, err
	}
	defer image.Close()
	if err := s.write("data", image); err != nil {
		return f, err
	}
	data, err := mountExt4(image)
	if err != nil {
		return f, err
	}
	err = l.lookAtData(ctx, data.Dir(), &f)
	if err = errors.Join(err, data.Close()); err != nil {
		return f, err
	}
	return f, l.judge(s, f)
}

// bootState is what the boot loader goes by. A copy that is torn is none.
func (l *looker) bootState(s *State) (boot.State, error) {
	raw, err := io.ReadAll(io.LimitReader(s.Part("ubstate"), 2*machine.StateSize))
	if err != nil {
		return boot.State{}, err
	}
	return l.bootStateIn(raw)
}

// bootStateIn reads the beginning of its partition.
func (l *looker) bootStateIn(raw []byte) (boot.State, error) {
	file, err := os.CreateTemp(l.scratch, "boot")
	if err != nil {
		return boot.State{}, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(raw)
	if err := errors.Join(err, file.Close()); err != nil {
		return boot.State{}, err
	}
	c, err := machine.BootState(file.Name())
	if err != nil {
		return boot.State{}, err
	}
	defer os.Remove(file.Name() + ".lock")
	state, err := c.State()
	if err != nil {
		return state, fmt.Errorf("the boot loader's state: %w", err)
	}
	return state, nil
}

func (l *looker) lookAtData(ctx context.Context, dir string, f *Found) (err error) {
	if f.Record, err = recordIn(dir); err != nil {
		return err
	}
	if f.System, err = l.slotsIn(ctx, filepath.Join(dir, "system"), slots.Options{Partitions: l.parts}); err != nil {
		return fmt.Errorf("systems: %w", err)
	}
	if f.Live, err = l.slotsIn(ctx, filepath.Join(dir, "slots"), slots.Options{}); err != nil {
		return fmt.Errorf("versions: %w", err)
	}
	return journalIn(filepath.Join(dir, "journal.db"))
}

func recordIn(dir string) (slots.Record, error) {
	file, err := slots.OpenRecord(dir)
	if err != nil {
		return slots.Record{}, err
	}
	defer file.Close()
	return file.Load()
}

// slotsIn reads what slots hold. What is said to be whole is read, but for partitions,
// which are no matter of this file system's.
func (l *looker) slotsIn(ctx context.Context, dir string, o slots.Options) (map[string]slots.Status, error) {
	set, err := slots.Open(dir, o)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	found := map[string]slots.Status{}
	for _, name := range slotNames {
		status, err := set.Status(name)
		if err == nil && status.State == slots.StateStaged && o.Partitions == nil {
			err = set.Verify(ctx, name)
		}
		if err == nil && status.State == slots.StateBroken {
			err = errors.New("its state cannot be read")
		}
		if err != nil {
			return nil, fmt.Errorf("slot %s: %w", name, err)
		}
		found[name] = status
	}
	return found, nil
}

// journalIn wants a database that can be read, all of it.
func journalIn(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil // a new device's
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		var bad error
		for err := range tx.Check() {
			bad = errors.Join(bad, fmt.Errorf("journal: %w", err))
		}
		return bad
	})
}

// judge says what must hold whatever was done before the cut.
func (l *looker) judge(s *State, f Found) error {
	for _, name := range slotNames {
		if status := f.System[name]; status.State == slots.StateStaged {
			if err := l.whole(s, name, status); err != nil {
				return fmt.Errorf("system slot %s says that it holds %s: %w", name, status.Version, err)
			}
		}
		startable := f.Boot.Slots[name].Bootable || f.Boot.Trial == name
		if startable && f.System[name].State != slots.StateStaged {
			return fmt.Errorf("the boot loader would start system slot %s, whose state is %q", name, f.System[name].State)
		}
	}
	if !f.Boot.Slots[f.Boot.Permanent].Bootable {
		return fmt.Errorf("the boot loader would not start its permanent slot %q", f.Boot.Permanent)
	}
	system := f.Record.Systems[f.Record.System]
	if is := f.System[f.Record.System]; is.State != slots.StateStaged || is.Digest != system.Digest {
		return fmt.Errorf("system %s is permanent in slot %s, which is %q and holds %s", system.Version, f.Record.System, is.State, is.Version)
	}
	live := f.Record.Live[f.Record.System]
	if is := f.Live[live.Slot]; is.State != slots.StateStaged || is.Digest != live.Digest {
		return fmt.Errorf("version %s is permanent in slot %s, which is %q and holds %s", live.Version, live.Slot, is.State, is.Version)
	}
	return nil
}

// whole compares a system's partition with what was signed.
func (l *looker) whole(s *State, name string, status slots.Status) error {
	part := "system-" + name
	if status.Size > s.disk.parts[part].size {
		return fmt.Errorf("it has %d bytes", status.Size)
	}
	key := sumOf{part, s.disk.change[part], status.Size}
	touched := s.touched(part)
	l.mu.Lock()
	defer l.mu.Unlock()
	sum, known := l.sums[key]
	if touched || !known {
		hash := sha256.New()
		if _, err := io.Copy(hash, io.NewSectionReader(s, s.disk.parts[part].from, status.Size)); err != nil {
			return err
		}
		sum = hex.EncodeToString(hash.Sum(nil))
		if !touched {
			l.sums[key] = sum
		}
	}
	if sum != status.SHA256 {
		return errors.New("it is torn, or holds something else")
	}
	return nil
}
