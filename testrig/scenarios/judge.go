package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"slipstream/agent/control"
	"slipstream/slots/boot"
	"slipstream/stream/publish"
	"slipstream/testrig/machine"
	"slipstream/testrig/viewer"
)

// Seen is what a viewer outside has suffered.
type Seen struct {
	Name  string `json:"name"`
	Kind  string `json:"kind,omitempty"`
	Ended string `json:"ended,omitempty"` // why its session is over
	viewer.Report
	Stills []Still `json:"-"`
}

// seat is one viewer, from its first picture on.
type seat struct {
	*viewer.Viewer
	name string
	from time.Duration
	film *film
}

func (s *seat) look() Seen {
	return Seen{s.name, s.Kind, s.Ended(), s.Report(s.from, publish.Monotonic()), nil}
}

// leave ends a viewer's session, of which everything is kept.
func (w *world) leave(s *seat) {
	seen := s.look()
	s.Close()
	if w.pictures {
		seen.Stills = w.stills(s.film)
	}
	w.seen = append(w.seen, seen)
}

func (w *world) join(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 3)
	if err != nil {
		return "", err
	}
	if err := w.waitForPicture(ctx); err != nil {
		return "", err
	}
	film := &film{}
	v, err := w.reach(ctx, words[1], words[2], viewer.Also(film.packet))
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, w.machine.Console.Tail())
	}
	if old := w.viewers[words[0]]; old != nil {
		w.leave(old)
	}
	s := &seat{v, words[0], 0, film}
	w.viewers[words[0]] = s
	s.from, err = s.picture(ctx)
	film.take("at the beginning")
	return "", err
}

// reach joins a stream, as soon as somebody is there to be asked: a gateway that was killed
// is gone for a moment.
func (w *world) reach(ctx context.Context, kind, stream string, also viewer.Option) (*viewer.Viewer, error) {
	for {
		v, err := w.watch(ctx, kind, stream, also)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			return v, err
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// picture waits for a whole picture that begins from now on.
func (s *seat) picture(ctx context.Context) (at time.Duration, err error) {
	now := publish.Monotonic()
	u, err := s.Wait(ctx, "a picture", func(u viewer.Unit) bool { return u.First >= now })
	return u.First, err
}

func (w *world) seats(names []string) (seats []*seat, err error) {
	for _, name := range names {
		s := w.viewers[name]
		if s == nil {
			return nil, fmt.Errorf("there is no viewer %s: %w", name, errUsage)
		}
		seats = append(seats, s)
	}
	return seats, nil
}

func (w *world) unharmed(ctx context.Context, args []string) (string, error) {
	seats, err := w.seats(args)
	if err != nil {
		return "", err
	}
	var said strings.Builder
	for _, s := range seats {
		if _, err := s.picture(ctx); err != nil {
			return said.String(), fmt.Errorf("viewer %s: %w (%s)", s.name, err, s.Ended())
		}
		r := s.look()
		fmt.Fprintf(&said, "%s (%s): %d frames, %d lost, session kept=%v, longest gap %.0f ms, %d shown again, back by %.0f ms, versions %v\n",
			s.name, s.Kind, r.Frames, r.FramesLost, s.Alive(), r.LongestGapMS, r.ReplayedFrames, r.ContentJumpMS, r.Versions)
		// Times are the emulation's, and no matter of the product's.
		if r.FramesLost != 0 || r.SeqBreaks != 0 || r.Duplicates != 0 || !s.Alive() {
			return said.String(), fmt.Errorf("viewer %s: %d frames lost, %d breaks of the sequence, %d packets came twice; its session: %q",
				s.name, r.FramesLost, r.SeqBreaks, r.Duplicates, s.Ended())
		}
	}
	return said.String(), nil
}

func (w *world) saw(ctx context.Context, args []string) (string, error) {
	if len(args) < 2 {
		return "", errUsage
	}
	seats, err := w.seats(args[:1])
	if err != nil {
		return "", err
	}
	// What the agent knows a viewer may see an instant later.
	if _, err := seats[0].WaitVersion(ctx, args[len(args)-1], publish.Monotonic()); err != nil {
		return "", err
	}
	if got := seats[0].look().Versions; !slices.Equal(got, args[1:]) {
		return "", fmt.Errorf("viewer %s saw the versions %v, not %v", args[0], got, args[1:])
	}
	return "", nil
}

func (w *world) ended(ctx context.Context, args []string) (string, error) {
	if len(args) < 2 {
		return "", errUsage
	}
	outcome, version, reasons := args[0], args[1]+".0", args[2:]
	if r, made := w.packages[args[1]]; made {
		version = r.version
	}
	if outcome == control.StateTrial {
		_, err := w.waitFor(ctx, "trial of "+version, func(s control.Status) bool {
			return s.Trial != nil && s.Trial.Version == version && !s.Trial.TookOver.IsZero()
		})
		return "", err
	}
	s, err := w.waitFor(ctx, "end of "+version, func(s control.Status) bool {
		if s.Trial != nil && !s.Trial.TookOver.IsZero() {
			w.takeStills("while " + s.Trial.Version + " is on trial")
		}
		return s.Last != nil && s.Last.To == version && s.Last.Outcome != control.OutcomeRefused && !w.told(s.Last) &&
			s.Phase != "reverting" && s.Phase != "committing"
	})
	if err != nil {
		return "", err
	}
	r := s.Last
	w.last = r
	w.takeStills("when " + version + " was " + r.Outcome)
	w.ends = append(w.ends, endOf(r))
	said := fmt.Sprintf("%s is %s (%s) %s %s", version, r.Outcome, r.Reason, r.Detail, proof(r))
	if r.Outcome != outcome || len(reasons) > 0 && !slices.Contains(reasons, r.Reason) {
		return "", fmt.Errorf("%s\n%s", said, strings.Join(r.Evidence, "\n"))
	}
	return said, nil
}

// told says whether a line of the history was asked for before.
func (w *world) told(r *control.Record) bool {
	return w.last != nil && w.last.Time.Equal(r.Time) && w.last.To == r.To && w.last.Outcome == r.Outcome
}

// proof is the time that a revert took, if it was measured.
func proof(r *control.Record) string {
	if r.Proof == nil || r.Proof.DetectToFirstMS == 0 {
		return ""
	}
	return fmt.Sprintf("(%.1f ms from detection to the first packet)", r.Proof.DetectToFirstMS)
}

func (w *world) expect(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	what, err := regexp.Compile(words[0])
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, errUsage)
	}
	return w.machine.Console.Expect(ctx, what)
}

func (w *world) unsaid(_ context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	what, err := regexp.Compile(words[0])
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, errUsage)
	}
	if said := w.machine.Console.Said(what); said != "" {
		return "", fmt.Errorf("the machine has said %q", said)
	}
	return "", nil
}

func (w *world) slot(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, agreeLimit)
	defer cancel()
	_, err = w.waitFor(ctx, "system slot "+words[0]+" that runs and is permanent", func(s control.Status) bool {
		return len(s.Systems) > 0 && !slices.ContainsFunc(s.Systems, func(slot control.System) bool {
			is := slot.Name == words[0]
			return slot.Running != is || (slot.State == control.StatePermanent) != is
		})
	})
	return "", err
}

// statePartition is the boot loader's.
const statePartition = "/dev/disk/by-partlabel/ubstate"

func (w *world) bootState(ctx context.Context, args []string) (string, error) {
	_, values, err := named(args, 0, "permanent", "trial", "bootable")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, agreeLimit)
	defer cancel()
	for {
		said, err := w.isBootState(ctx, values)
		if err == nil {
			return said, nil
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return "", err
		}
	}
}

// agreeLimit is for how long the boot loader's state may differ: it follows the record of
// what is permanent.
const agreeLimit = time.Minute

func (w *world) isBootState(ctx context.Context, values map[string]string) (string, error) {
	state, err := w.readBootState(ctx)
	if err != nil {
		return "", err
	}
	is := map[string]string{"permanent": state.Permanent, "trial": state.Trial}
	for _, slot := range []string{"a", "b"} {
		if state.Slots[slot].Bootable {
			is["bootable"] += slot
		}
	}
	said := fmt.Sprintf("permanent=%s trial=%s bootable=%s", is["permanent"], is["trial"], is["bootable"])
	for key, value := range values {
		if is[key] != value {
			return "", fmt.Errorf("the boot loader's state is %s", said)
		}
	}
	return said, nil
}

func (w *world) readBootState(ctx context.Context) (boot.State, error) {
	raw, err := w.machine.Hand.Get(ctx, statePartition)
	if err != nil {
		return boot.State{}, err
	}
	f, err := os.CreateTemp("", "slip-rig-")
	if err != nil {
		return boot.State{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(raw); err != nil {
		return boot.State{}, err
	}
	c, err := machine.BootState(f.Name())
	if err != nil {
		return boot.State{}, err
	}
	defer os.Remove(f.Name() + ".lock")
	return c.State()
}

func (w *world) damage(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	to := "/dev/disk/by-partlabel/system-" + words[0]
	_, err = w.inside(ctx, "dd", "if=/dev/urandom", "of="+to, "bs=1M", "count=4", "conv=fsync")
	return "", err
}
