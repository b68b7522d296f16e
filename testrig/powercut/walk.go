package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"slipstream/agent/control"
	"slipstream/testrig/machine"
)

// Walk is a camera whose power fails again and again, while it is updated and while it
// comes up: what one cut has left the next life begins with.
type Walk struct {
	Seed  uint64
	Boots int           // that have to come up
	Limit time.Duration // of one life
	Say   func(format string, args ...any)
}

// walk is one that goes on.
type walk struct {
	Walk
	factory *machine.Factory
	dir     string
	image   string // of the disk
	rand    *rand.Rand
	look    *looker

	story   Story // of its whole life; marks are not used
	least   int   // index of what was said to be permanent
	most    int   // of what was allowed to become it
	release int   // number of the newest package
	tally   Tally
	bad     []Bad
}

// Run walks. A life that cannot be judged for want of time is a bad one.
func (w Walk) Run(ctx context.Context, f *machine.Factory, dir string) (Tally, []Bad, error) {
	scratch, err := os.MkdirTemp("/dev/shm", "slip-cut-")
	if err != nil {
		return Tally{}, nil, err
	}
	defer os.RemoveAll(scratch)
	look, err := newLooker(scratch)
	if err != nil {
		return Tally{}, nil, err
	}
	r := &walk{
		Walk: w, factory: f, dir: dir, image: filepath.Join(dir, "walk.img"), rand: random(w.Seed, -1), look: look,
		story: Story{Permanent: []Permanent{{machine.FirstSystem.Version, firstCamera + ".0"}}}, release: 1,
	}
	if err := copySparse(r.image, f.Disk); err != nil {
		return Tally{}, nil, err
	}
	defer os.Remove(r.image)
	for n := 0; r.tally.States < w.Boots; n++ {
		if n == maxLives*w.Boots {
			return r.tally, r.bad, fmt.Errorf("in %d lives the camera has come up %d times", n, r.tally.States)
		}
		if err := r.live(ctx, n); err != nil || ctx.Err() != nil {
			return r.tally, r.bad, errors.Join(err, ctx.Err())
		}
	}
	return r.tally, r.bad, nil
}

// maxLives is how many may be needed for one that comes up: the power fails while the
// machine starts, too.
const maxLives = 4

// last says that the camera has only to come up once more.
func (w *walk) last() bool { return w.tally.States == w.Boots-1 }

// whenever says whether the power fails while the machine comes up or in the update that
// follows, and behind how many writes of that.
func (w *walk) whenever(system bool) (soon bool, writes int) {
	switch {
	case w.rand.IntN(4) == 0:
		return true, 1 + w.rand.IntN(60)
	case system:
		return false, 1 + w.rand.IntN(260)
	}
	return false, 1 + w.rand.IntN(110)
}

// live is one life: the camera comes up, and is updated until its power fails.
func (w *walk) live(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, w.Limit)
	defer cancel()
	begin := time.Now()
	disk, err := newVolatile(w.image)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(w.dir, "m")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "nbd")
	server, err := serve(socket, disk)
	if err != nil {
		return errors.Join(err, disk.file.Close())
	}
	m, err := machine.NewOn(ctx, w.factory.Kit.Arch, dir, "-blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path="+socket)
	var story string
	if err == nil {
		story, err = w.powered(ctx, m, disk, n)
	}
	if err := errors.Join(err, server.close()); err != nil {
		return errors.Join(err, disk.file.Close())
	}
	kept, of, err := disk.lose(w.Seed, n)
	if err != nil {
		return err
	}
	w.Say("%2d  %-60s %d of %d sectors kept  %3.0f s", n, story, kept, of, time.Since(begin).Seconds())
	return w.judge(ctx, n)
}

// powered is all of a life in which there is power.
func (w *walk) powered(ctx context.Context, m *machine.Machine, disk *volatileDisk, n int) (story string, err error) {
	system := n%3 == 2
	soon, writes := w.whenever(system)
	at := 0 // it does not, as yet
	if soon && !w.last() {
		at = writes
	}
	alive, kill := context.WithCancel(ctx)
	defer kill()
	off := disk.failAt(at)
	go func() {
		select {
		case <-off:
			kill()
		case <-alive.Done():
		}
	}()
	c, err := powerOn(ctx, m)
	if err != nil {
		return "", errors.Join(err, m.Close())
	}
	defer func() { err = errors.Join(err, c.close()) }()
	story, err = w.comesUp(alive, c)
	if err == nil && n > 0 {
		w.tally.States++
	}
	if err == nil && w.tally.States < w.Boots {
		disk.failAt(writes)
		story, err = w.updates(alive, c, system)
	}
	switch {
	case disk.isOff():
		return fmt.Sprintf("%s, cut behind write %d", story, writes), nil
	case errors.Is(err, errEnded):
		return fmt.Sprintf("%s, which it gave up, and was cut", story), nil
	case err != nil:
		w.tally.Bad++
		w.bad = append(w.bad, Bad{n, story, err})
		return story + ", which went wrong", nil
	}
	return story + ", cut when all was done", nil
}

// comesUp waits until the camera does what it is for.
func (w *walk) comesUp(ctx context.Context, c *cam) (story string, err error) {
	status, err := c.picture(ctx)
	if err == nil {
		err = w.up(ctx, c, status)
	}
	return "start", err
}

// up says whether the camera has come up as it must.
func (w *walk) up(ctx context.Context, c *cam, s control.Status) error {
	at := w.story.Permanent[w.least]
	if s.Permanent != at.Live {
		return fmt.Errorf("%s is permanent, and %v was found on the disk", s.Permanent, at)
	}
	i := slices.IndexFunc(s.Systems, func(s control.System) bool { return s.Running })
	if s.Systems[i].Version != at.System {
		return fmt.Errorf("system %s runs, and %v was found on the disk", s.Systems[i].Version, at)
	}
	if len(s.Problems) > 0 {
		return fmt.Errorf("it complains: %q", s.Problems)
	}
	return w.agrees(ctx, c, s.Systems[i].Name)
}

// agrees waits until the boot loader goes by what is permanent.
func (w *walk) agrees(ctx context.Context, c *cam, running string) error {
	for {
		raw, err := c.Hand.Get(ctx, "/dev/disk/by-partlabel/ubstate")
		if err != nil {
			return err
		}
		state, err := w.look.bootStateIn(raw)
		if err != nil {
			return err
		}
		if state.Permanent == running && state.Trial == "" && state.Slots[running].Bootable && !state.Recovery {
			return nil
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return fmt.Errorf("system slot %s runs, and the boot loader's state is %+v", running, state)
		}
	}
}

// updates makes a new version permanent, if the power lasts so long.
func (w *walk) updates(ctx context.Context, c *cam, ofSystem bool) (story string, err error) {
	w.release++
	is := w.story.Permanent[w.least]
	var file, version string
	if ofSystem {
		s := system(w.release)
		version, is.System = s.Version, s.Version
		file, err = w.factory.System(ctx, s, int64(w.release))
	} else {
		r := release(w.release)
		version = r.Version + ".0"
		is.Live = version
		file, err = w.factory.Camera(ctx, r)
	}
	story = "update to " + is.String()
	if err != nil {
		return story, err
	}
	defer os.Remove(file)
	if err := c.stage(ctx, file); err != nil {
		return story, err
	}
	if err := c.activate(ctx); err != nil {
		return story, err
	}
	if _, err := c.trial(ctx, version); err != nil {
		return story, err
	}
	w.story.Permanent = append(w.story.Permanent, is)
	w.most = len(w.story.Permanent) - 1
	if err := c.greenlight(ctx, version); err != nil {
		return story, err
	}
	if err := c.permanent(ctx, version); err != nil {
		return story, err
	}
	w.least = w.most
	return story, nil
}

// judge looks at the disk that is left. What is found there is what the next life has to
// come up with.
func (w *walk) judge(ctx context.Context, n int) error {
	d, err := openDisk(w.image)
	if err != nil {
		return err
	}
	w.tally.Cuts++
	found, err := w.look.look(ctx, &State{disk: d})
	at := w.least
	if err == nil {
		at, err = w.story.judge(Mark{Least: w.least, Most: w.most}, found)
	}
	if err != nil && ctx.Err() == nil {
		w.tally.Bad++
		w.bad = append(w.bad, Bad{n, "left on the disk", err})
		at = max(at, w.least)
	}
	// What did not become permanent never will.
	w.story.Permanent = w.story.Permanent[:at+1]
	w.least, w.most = at, at
	w.look.sums = map[sumOf]string{}
	return d.close()
}
