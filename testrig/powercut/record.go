package powercut

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"slipstream/testrig/machine"
	"slipstream/testrig/machine/hand"
)

// Recording is a whole life of an emulated camera as its disk has seen it.
type Recording struct {
	Base  string // image of the disk before it
	Log   string // file
	Story Story
}

// Life is what a camera goes through: how often its application is updated, once before
// its system and else after it, and how often its system is; and whether an update of the
// application is taken back.
type Life struct {
	Camera, System int
	Revert         bool
}

// recorder is a recording that is being made.
type recorder struct {
	*cam
	log     *os.File
	rec     Recording
	say     func(format string, args ...any)
	release int // number of the newest package
	is      int // index of what is permanent in the story, the last but for what was given up
}

// Record lets a new camera of a factory's live, with QEMU noting whatever its disk is told.
func Record(ctx context.Context, f *machine.Factory, dir string, life Life, say func(string, ...any)) (rec Recording, err error) {
	disk := filepath.Join(dir, "recorded.img")
	r := &recorder{say: say, release: 1, rec: Recording{Base: f.Disk, Log: filepath.Join(dir, "writes.log")}}
	if err := copySparse(disk, f.Disk); err != nil {
		return rec, err
	}
	defer os.Remove(disk)
	if r.log, err = os.OpenFile(r.rec.Log, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644); err != nil {
		return rec, err
	}
	defer r.log.Close()
	m, err := machine.NewOn(ctx, f.Kit.Arch, dir,
		"-blockdev", "driver=file,node-name=image,filename="+disk,
		"-blockdev", "driver=file,node-name=log,filename="+r.rec.Log,
		"-blockdev", "driver=blklogwrites,node-name=disk,file=image,log=log,log-sector-size=512,log-super-update-interval=1")
	if err != nil {
		return rec, err
	}
	if r.cam, err = powerOn(ctx, m); err == nil {
		err = r.live(ctx, f, life)
	}
	return r.rec, errors.Join(err, r.close())
}

// live is the camera's life.
func (r *recorder) live(ctx context.Context, f *machine.Factory, life Life) error {
	if err := r.begins(ctx); err != nil {
		return err
	}
	for i := range max(life.Camera, life.System) {
		if i < life.Camera {
			if err := r.again(func() error { return r.updatesCamera(ctx, f) }); err != nil {
				return fmt.Errorf("update of the camera: %w", err)
			}
		}
		if i == 0 && life.Revert {
			if err := r.again(func() error { return r.takesBack(ctx, f) }); err != nil {
				return fmt.Errorf("update of the camera that is taken back: %w", err)
			}
		}
		if i < life.System {
			if err := r.again(func() error { return r.updatesSystem(ctx, f) }); err != nil {
				return fmt.Errorf("update of the system: %w", err)
			}
		}
	}
	return nil
}

// updateTries is how often an update may be taken back by itself.
const updateTries = 3

func (r *recorder) again(update func() error) (err error) {
	for range updateTries {
		if err = update(); !errors.Is(err, errEnded) {
			return err
		}
		r.say("%v", err)
	}
	return err
}

// mark notes what is known from now on.
func (r *recorder) mark(least, most int, agreed bool) error {
	n, err := Count(r.log)
	r.rec.Story.Marks = append(r.rec.Story.Marks, Mark{n, least, most, agreed})
	return err
}

func (r *recorder) begins(ctx context.Context) error {
	r.rec.Story = Story{
		Permanent: []Permanent{{machine.FirstSystem.Version, firstCamera + ".0"}},
		Marks:     []Mark{{0, 0, 0, true}},
	}
	_, err := r.picture(ctx)
	r.say("the camera is up")
	return err
}

// greenlit lets what is on trial become permanent.
func (r *recorder) greenlit(ctx context.Context, version string, is Permanent, agreed bool) error {
	if _, err := r.trial(ctx, version); err != nil {
		return err
	}
	n := len(r.rec.Story.Permanent)
	r.rec.Story.Permanent = append(r.rec.Story.Permanent, is)
	if err := r.mark(r.is, n, agreed); err != nil {
		return err
	}
	if err := r.greenlight(ctx, version); err != nil {
		return err
	}
	if err := r.permanent(ctx, version); err != nil {
		return err
	}
	r.is = n
	r.say("%v is permanent", is)
	return r.mark(n, n, agreed)
}

// tries puts the next version of the camera on trial.
func (r *recorder) tries(ctx context.Context, f *machine.Factory) (version string, err error) {
	r.release++
	file, err := f.Camera(ctx, release(r.release))
	if err != nil {
		return "", err
	}
	defer os.Remove(file)
	if err := r.stage(ctx, file); err != nil {
		return "", err
	}
	return release(r.release).Version + ".0", r.activate(ctx)
}

func (r *recorder) updatesCamera(ctx context.Context, f *machine.Factory) error {
	version, err := r.tries(ctx, f)
	if err != nil {
		return err
	}
	return r.greenlit(ctx, version, Permanent{r.now().System, version}, true)
}

// now is what is permanent.
func (r *recorder) now() Permanent { return r.rec.Story.Permanent[r.is] }

func (r *recorder) takesBack(ctx context.Context, f *machine.Factory) error {
	version, err := r.tries(ctx, f)
	if err != nil {
		return err
	}
	if _, err := r.trial(ctx, version); err != nil {
		return err
	}
	if err := done("revert", r.agent.Revert(ctx)); err != nil {
		return err
	}
	_, err = r.picture(ctx)
	r.say("%s is taken back", version)
	return err
}

func (r *recorder) updatesSystem(ctx context.Context, f *machine.Factory) error {
	r.release++
	s := system(r.release)
	file, err := f.System(ctx, s, int64(r.release))
	if err != nil {
		return err
	}
	defer os.Remove(file)
	if err := r.stage(ctx, file); err != nil {
		return err
	}
	if err := r.activate(ctx); err != nil {
		return err
	}
	if err := r.starts(ctx, s.Version); err != nil {
		return err
	}
	if err := r.greenlit(ctx, s.Version, Permanent{s.Version, r.now().Live}, false); err != nil {
		return err
	}
	if err := r.agreed(ctx); err != nil {
		return err
	}
	return r.mark(r.is, r.is, true)
}

// agreed waits until the agent has told the boot loader, which it does behind the commit.
func (r *recorder) agreed(ctx context.Context) error {
	for {
		done, err := r.Hand.Run(ctx, hand.Command{Args: []string{"grep", "-q", "boot loader brought into agreement", "/run/messages"}})
		if err != nil || done.Exit == 0 {
			return err
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return fmt.Errorf("the boot loader is not told: %w", ctx.Err())
		}
	}
}

// copySparse copies an image and leaves its holes.
func copySparse(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	err = out.Truncate(info.Size())
	if err == nil {
		err = eachExtent(in, func(off, size int64) error {
			_, err := io.Copy(io.NewOffsetWriter(out, off), io.NewSectionReader(in, off, size))
			return err
		})
	}
	return errors.Join(err, out.Close())
}
