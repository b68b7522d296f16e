package powercut

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"slipstream/testrig/device"
	"slipstream/testrig/machine"
)

// Options of a run.
type Options struct {
	Arch   string
	Boots  int      // real ones, after power cuts of a disk that forgets
	Chance int      // states of each recorded instant that are chosen at random
	Seed   uint64   // of all that is chosen
	Faults []string // builds that lack a flush, each of which must be found out
	Out    io.Writer
}

// ErrBad is a run in which a device was not as it must be, or a fault was not found; all
// that is to be said is printed.
var ErrBad = errors.New("a power cut leaves what it must not, or goes unnoticed")

// Limits of what waits for an emulated machine.
const (
	recordLimit = 40 * time.Minute
	lifeLimit   = 15 * time.Minute
	maxBad      = 5 // of one search
)

// run is one.
type run struct {
	Options
	kit   *machine.Kit
	dir   string
	begin time.Time
	cuts  int
	boots int
	bad   int
}

// Run records a camera's life and tries each instant of it, lets a camera's power fail
// again and again, and does the first with builds that lack a flush.
func Run(ctx context.Context, opts Options) (err error) {
	r := &run{Options: opts, begin: time.Now()}
	faults, err := faultsOf(opts.Faults)
	if err != nil {
		return err
	}
	arch, err := machine.ArchOf(opts.Arch)
	if err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return errors.New("the states that a power cut leaves are mounted, which needs root")
	}
	if r.dir, err = os.MkdirTemp("", "slip-cut-"); err != nil { // a socket's path must be short
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if r.kit, err = machine.NewKit(ctx, arch, r.say); err != nil {
		return err
	}
	if err := r.all(ctx, faults); err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "total time %v, seed %d\ncuts=%d boots=%d bad=%d\n", time.Since(r.begin).Round(time.Second), r.Seed, r.cuts, r.boots, r.bad)
	if r.bad > 0 {
		return ErrBad
	}
	return nil
}

func faultsOf(names []string) (list []Fault, err error) {
	for _, name := range names {
		i := slices.IndexFunc(Faults, func(f Fault) bool { return f.Name == name })
		if i < 0 || !slices.Contains(FaultNames(), name) {
			return nil, fmt.Errorf("there is no fault %q, but %s", name, strings.Join(FaultNames(), ", "))
		}
		list = append(list, Faults[i])
	}
	return list, nil
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.Out, "%4.0f s  "+format+"\n", append([]any{time.Since(r.begin).Seconds()}, args...)...)
}

func (r *run) all(ctx context.Context, faults []Fault) error {
	factory, err := r.factory(ctx, r.kit, "good")
	if err != nil {
		return err
	}
	tally, bad, err := r.search(ctx, factory, Explorer{Seed: r.Seed, Chance: r.Chance, Workers: runtime.NumCPU(), MaxBad: maxBad}, Life{Camera: 4, System: 1, Revert: true})
	if err != nil {
		return err
	}
	r.cuts += tally.Cuts
	r.count(bad)
	r.say("%d power cuts of the recorded life, %d states looked at, %d bad", tally.Cuts, tally.States, tally.Bad)
	if r.Boots > 0 {
		walked, bad, err := Walk{Seed: r.Seed, Boots: r.Boots, Limit: lifeLimit, Say: r.say}.Run(ctx, factory, filepath.Dir(factory.Disk))
		if err != nil {
			return err
		}
		r.cuts, r.boots = r.cuts+walked.Cuts, walked.States
		r.count(bad)
		r.say("%d power cuts of a running camera, it came up %d times, %d bad", walked.Cuts, walked.States, walked.Bad)
	}
	for _, f := range faults {
		if err := r.fault(ctx, f); err != nil {
			return fmt.Errorf("without the flush of %s: %w", f.Lost, err)
		}
	}
	return nil
}

func (r *run) count(bad []Bad) {
	r.bad += len(bad)
	for _, b := range bad {
		r.say("BAD: %v", b)
	}
}

func (r *run) factory(ctx context.Context, kit *machine.Kit, name string) (*machine.Factory, error) {
	dir := filepath.Join(r.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	r.say("making a new camera's disk")
	return newFactory(ctx, kit, dir)
}

// search records a life and tries each instant of it.
func (r *run) search(ctx context.Context, f *machine.Factory, e Explorer, life Life) (Tally, []Bad, error) {
	dir := filepath.Join(filepath.Dir(f.Disk), "m")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return Tally{}, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, recordLimit)
	defer cancel()
	rec, err := Record(limited, f, dir, life, r.say)
	if err != nil {
		return Tally{}, nil, fmt.Errorf("record: %w", err)
	}
	file, err := os.Open(rec.Log)
	if err != nil {
		return Tally{}, nil, err
	}
	defer file.Close()
	log, err := ReadLog(file)
	if err != nil {
		return Tally{}, nil, err
	}
	r.say("the disk was told %d things", len(log.Entries))
	return e.Explore(ctx, rec.Base, log, rec.Story)
}

// fault tries a build that must be found out.
func (r *run) fault(ctx context.Context, f Fault) error {
	repository, err := device.ModuleRoot(ctx)
	if err != nil {
		return err
	}
	overlay, err := f.Overlay(repository, r.dir)
	if err != nil {
		return err
	}
	kit, err := r.kit.Overlaid(ctx, overlay, filepath.Join(r.dir, f.Name+"-bin"))
	if err != nil {
		return err
	}
	factory, err := r.factory(ctx, kit, f.Name)
	if err != nil {
		return err
	}
	tally, bad, err := r.search(ctx, factory, Explorer{Seed: r.Seed, Chance: r.Chance, Workers: runtime.NumCPU(), MaxBad: 1}, f.life)
	if err != nil {
		return err
	}
	if tally.Bad == 0 {
		r.bad++
		r.say("BAD: without the flush of %s nothing went wrong in %d power cuts", f.Lost, tally.Cuts)
		return nil
	}
	r.say("without the flush of %s, as it has to be: %v", f.Lost, bad[0])
	return os.RemoveAll(filepath.Dir(factory.Disk))
}
