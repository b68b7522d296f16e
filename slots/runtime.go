package slots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// RuntimePlace is where a start program looks for Slipstream's own programs.
type RuntimePlace struct {
	Record  string // directory of the active record
	Slots   string // directory of the slots of class runtime
	System  string // system slot that runs now; "": the one that the record names
	BuiltIn string // directory of the copy that came with the system slot
}

// FoundRuntime is what a start program should run.
type FoundRuntime struct {
	Dir     string // where the programs are
	Version string // "": the copy built in
	Reason  error  // why it is that copy
}

// ErrNoRuntime is why the built-in copy runs on a new device.
var ErrNoRuntime = errors.New("no other version was ever made permanent with this system")

// Runtime finds the permanent version of Slipstream's own programs, and reads all of
// it. If there is none, or it is not whole, the copy built in is the answer: this
// always has one. It changes nothing, takes no lock, and so works beside an agent.
//
// It trusts the state directory as the agent's record does: that the version was
// signed was checked when it was staged.
func (p RuntimePlace) Runtime(ctx context.Context) FoundRuntime {
	dir, version, err := p.find(ctx)
	if err != nil {
		return FoundRuntime{Dir: p.BuiltIn, Reason: fmt.Errorf("slots: the built-in programs run: %w", err)}
	}
	return FoundRuntime{Dir: dir, Version: version}
}

// Tried is the version that an agent asks to be tried, if its slot holds all of it, or
// the copy built in.
func (p RuntimePlace) Tried(ctx context.Context, t Try) (FoundRuntime, error) {
	if t.BuiltIn {
		return FoundRuntime{Dir: p.BuiltIn}, nil
	}
	dir, version, err := p.whole(ctx, Runtime{Slot: t.Slot, Digest: t.Digest, Version: t.Version})
	if err != nil {
		return FoundRuntime{}, fmt.Errorf("slots: version %s is not tried: %w", t.Version, err)
	}
	return FoundRuntime{Dir: dir, Version: version}, nil
}

func (p RuntimePlace) find(ctx context.Context) (dir, version string, err error) {
	want, err := p.permanent()
	if err != nil {
		return "", "", err
	}
	return p.whole(ctx, want)
}

// whole reads all of a version.
func (p RuntimePlace) whole(ctx context.Context, want Runtime) (dir, version string, err error) {
	base, err := filepath.Abs(p.Slots)
	if err != nil {
		return "", "", err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return "", "", err
	}
	defer root.Close()
	s := &Set{dir: base, root: root}
	st, err := s.staged(want.Slot)
	switch {
	case err != nil:
		return "", "", err
	case st.Digest != want.Digest:
		return "", "", fmt.Errorf("%w: slot %s holds version %s, and not %s", ErrDamaged, want.Slot, st.Version, want.Version)
	case st.Kind != KindTree:
		return "", "", fmt.Errorf("slot %s holds an image of kind %q, and programs are kept as %q", want.Slot, st.Kind, KindTree)
	}
	if err := s.compare(ctx, want.Slot, st, cached); err != nil {
		return "", "", fmt.Errorf("slot %s: %w", want.Slot, err)
	}
	return s.Root(want.Slot), st.Version, nil
}

// permanent is what the active record says.
func (p RuntimePlace) permanent() (Runtime, error) {
	f, err := OpenRecord(p.Record)
	if err != nil {
		return Runtime{}, err
	}
	defer f.Close()
	r, err := f.Load()
	if err != nil {
		return Runtime{}, err
	}
	system := p.System
	if system == "" {
		system = r.System
	}
	found, ok := r.Runtime[system]
	if !ok || found.Slot == "" { // or the copy built in was returned to
		return Runtime{}, ErrNoRuntime
	}
	return found, nil
}
