package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"slipstream/agent/control"
	"slipstream/testrig/device"
	"slipstream/testrig/machine"
	"slipstream/testrig/machine/hand"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// world is what one scenario plays with.
type world struct {
	ctx      context.Context // of the run; testscript's commands have none
	patience time.Duration
	pictures bool // are wanted
	factory  *machine.Factory

	*emulated                    // that commands are for
	kept      string             // a machine that is up
	packages  map[string]release // by the version that scenarios call them
	counter   int64              // of the newest release
	viewers   map[string]*seat
	stream    string // of the camera, the first one

	all   []*emulated
	fleet *fleet // nil without a panel

	console string // what the machine had said when it ended
	seen    []Seen
	ends    []End
}

// command is one of a scenario's; what it returns is its standard output.
type command func(ctx context.Context, args []string) (string, error)

// beforehand are the commands that need no machine.
var beforehand = []string{"camera", "system", "programs", "boot", "power", "debian", "verified", "panel", "swarm", "cameras", "use", "rollout", "rolled-out"}

// params are testscript's, for one file.
func (w *world) params(file string) testscript.Params {
	commands := map[string]command{
		"camera": w.makeCamera, "system": w.makeSystem, "programs": w.makePrograms,
		"boot": w.boot, "power": w.power, "cut-power": w.cutPower, "reset": w.reset,
		"stage": w.stage, "activate": w.activate, "greenlight": w.greenlight, "until": w.ended,
		"expect": w.expect, "unsaid": w.unsaid, "viewer": w.join, "unharmed": w.unharmed, "saw": w.saw, "counted": w.counted,
		"panel": w.startPanel, "swarm": w.addSwarm, "cameras": w.addCameras, "enrol": w.enrol, "rollout": w.startRollout, "rolled-out": w.rolledOut, "use": w.use,
		"slot": w.slot, "boot-state": w.bootState, "damage": w.damage, "guest": w.guest,
		"debian": w.debian, "verified": w.verified, "deb": w.deb, "flip": w.flip, "stayed": w.stayed,
	}
	p := testscript.Params{
		Files: []string{file}, RequireExplicitExec: true, Setup: w.setUp, Condition: w.has,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){},
	}
	for name, do := range commands {
		p.Cmds[name] = func(ts *testscript.TestScript, not bool, args []string) { w.run(ts, name, do, not, args) }
	}
	return p
}

// has says whether the machine has something that not every one has.
func (w *world) has(what string) (bool, error) {
	if what != "watchdog" {
		return false, fmt.Errorf("no machine has %q", what)
	}
	return w.factory.Kit.Arch.Watchdog(), nil
}

func (w *world) run(ts *testscript.TestScript, name string, do command, not bool, args []string) {
	if w.machine == nil && !slices.Contains(beforehand, name) {
		ts.Fatalf("usage: %v", errNotOn)
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(w.ctx, w.patience)
	defer cancel()
	out, err := do(ctx, args)
	fmt.Fprint(ts.Stdout(), out)
	ts.Logf("# %s: %.1f s %s", name, time.Since(begin).Seconds(), strings.TrimSpace(out))
	switch {
	case errors.Is(err, errUsage):
		ts.Fatalf("usage: %s", err)
	case err != nil && !not:
		ts.Fatalf("%v", err)
	case err == nil && not:
		ts.Fatalf("%s was to fail, and did not", name)
	case err != nil:
		ts.Logf("%v", err)
	}
}

// setUp makes a new camera.
func (w *world) setUp(env *testscript.Env) error {
	env.Setenv(streamVar, w.stream)
	env.Defer(func() { w.end() })
	return w.add()
}

// end switches everything off.
func (w *world) end() {
	for _, name := range slices.Sorted(maps.Keys(w.viewers)) {
		w.leave(w.viewers[name])
	}
	if w.fleet != nil {
		w.fleet.end()
	}
	for _, e := range w.all {
		w.emulated = e
		w.endMachine()
	}
}

func (w *world) endMachine() {
	defer os.RemoveAll(w.dir)
	if w.agent != nil {
		w.agent.Close()
	}
	if w.machine != nil {
		if err := w.machine.Close(); err != nil {
			w.seen = append(w.seen, Seen{Name: "machine", Ended: err.Error()})
		}
		w.console += w.machine.Console.Text()
	}
}

var errUsage = errors.New("see the documentation of package scenarios")

// named are the words of a command: how many there are without a key, and those with.
func named(args []string, plain int, keys ...string) (words []string, values map[string]string, err error) {
	values = map[string]string{}
	for _, arg := range args {
		key, value, is := strings.Cut(arg, "=")
		switch {
		case !is:
			words = append(words, arg)
		case !slices.Contains(keys, key):
			return nil, nil, fmt.Errorf("%q is not one of %s: %w", key, strings.Join(keys, ", "), errUsage)
		default:
			values[key] = value
		}
	}
	if len(words) != plain {
		return nil, nil, fmt.Errorf("%d words in place of %d: %w", len(words), plain, errUsage)
	}
	return words, values, nil
}

func (w *world) makeCamera(ctx context.Context, args []string) (string, error) {
	words, values, err := named(args, 1, append(limitKeys, "greenlight", "fault", "after", "deadline", "by", "system", "programs", "image", "sensor")...)
	if err != nil {
		return "", err
	}
	w.counter++
	r, err := described(words[0], w.counter, values)
	if err != nil {
		return "", err
	}
	if err := w.bring(ctx, &r, values); err != nil {
		return "", err
	}
	key := w.factory.Key
	if values["by"] == "stranger" {
		if key, err = pack.GenerateKey(); err != nil {
			return "", err
		}
	}
	return "", w.keep(r.Version)(w.factory.CameraBy(ctx, r, key))
}

// described is a version of the sample camera by the words of a story, in whatever order they
// stand there.
func described(version string, counter int64, values map[string]string) (device.Release, error) {
	r := cameraRelease(version, counter)
	if kind, is := values["fault"]; is {
		r.Fault = faultOf(kind) // and "after" says when
	}
	for key, value := range values {
		switch key {
		case "greenlight":
			r.Greenlight.By = value
			if value == verify.GreenlightOperator {
				r.Greenlight.By, r.App.Greenlight = "never", value // the camera says nothing
			}
		case "image":
			r.Kind = value
		case "sensor":
			r.Sensor = value
		case "after", "deadline":
			d, err := time.ParseDuration(value)
			if err != nil {
				return r, fmt.Errorf("%s: %w: %w", key, err, errUsage)
			}
			if key == "after" {
				r.Fault.AfterMS = d.Milliseconds()
				continue
			}
			r.App.DeadlineMS = d.Milliseconds()
			r.App.StartTimeoutMS = min(r.App.StartTimeoutMS, r.App.DeadlineMS)
		}
	}
	return r, limit(&r, values)
}

func (w *world) makeSystem(ctx context.Context, args []string) (string, error) {
	words, values, err := named(args, 1, "fault")
	if err != nil {
		return "", err
	}
	w.counter++
	s := machine.System{Version: words[0] + ".0", Fault: values["fault"]}
	return "", w.keep(words[0])(w.factory.System(ctx, s, w.counter))
}

// keep notes a package under its version.
func (w *world) keep(version string) func(file string, err error) error {
	return func(file string, err error) error {
		if _, there := w.packages[version]; there && err == nil {
			err = fmt.Errorf("there are two packages of version %s: %w", version, errUsage)
		}
		w.packages[version] = release{file, version + ".0"}
		return err
	}
}

func (w *world) power(ctx context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	var err error
	if w.machine == nil {
		if w.machine, err = machine.New(ctx, w.factory.Kit.Arch, w.factory.Disk, w.dir); err != nil {
			return "", err
		}
	}
	err = w.machine.PowerOn(ctx)
	if err == nil && w.agent == nil {
		w.agent, err = w.machine.Agent()
	}
	return "", err
}

func (w *world) boot(ctx context.Context, args []string) (string, error) {
	if w.machine == nil {
		m, err := machine.Resume(ctx, w.factory.Kit.Arch, w.kept, w.dir)
		if err != nil {
			return "", err
		}
		w.machine = m
	}
	if _, err := w.power(ctx, args); err != nil {
		return "", err
	}
	if err := w.rename(ctx); err != nil {
		return "", err
	}
	return "", w.waitForPicture(ctx)
}

func (w *world) waitForPicture(ctx context.Context) error {
	_, err := w.waitFor(ctx, "picture", func(s control.Status) bool {
		return slices.ContainsFunc(s.Streams, func(s control.StreamStatus) bool { return s.Frames > 0 })
	})
	return err
}

// againAfter is the pause after an agent did not answer, as while a machine boots.
const againAfter = 500 * time.Millisecond

// errNotOn is a mistake of the scenario's.
var errNotOn = fmt.Errorf("the machine has not been on yet: %w", errUsage)

// waitFor waits until the device is as wanted, over all its reboots.
func (w *world) waitFor(ctx context.Context, what string, is func(control.Status) bool) (s control.Status, err error) {
	for seq := uint64(0); ; {
		s, err = w.agent.Status(ctx)
		for err == nil && !is(s) {
			seq = s.Seq
			s, err = w.agent.WaitStatus(ctx, seq)
		}
		if err == nil {
			return s, nil
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return s, fmt.Errorf("no %s in time: %w\n%s", what, err, w.machine.Console.Tail())
		}
	}
}

func (w *world) cutPower(_ context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	w.named = false // that was in memory
	return "", w.machine.CutPower()
}

func (w *world) reset(ctx context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	return "", w.machine.Reset(ctx)
}

func (w *world) stage(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	r, there := w.packages[words[0]]
	if !there {
		return "", fmt.Errorf("no package of version %s was made: %w", words[0], errUsage)
	}
	const inside = "/tmp/update.slip"
	if err := w.machine.Hand.Put(ctx, r.file, inside); err != nil {
		return "", err
	}
	return w.inside(ctx, "slipstream", "stage", inside)
}

func (w *world) activate(ctx context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	r := w.agent.Activate(ctx, control.ActivateRequest{})
	if r.Exit != control.ExitDone && r.Code != control.CodeLost { // a reboot overtakes the answer
		return "", fmt.Errorf("activate: exit %d: %s", r.Exit, r.Message)
	}
	return r.Message, nil
}

func (w *world) greenlight(ctx context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	return w.inside(ctx, "slipstream", "greenlight")
}

func (w *world) guest(ctx context.Context, args []string) (string, error) {
	if len(args) == 0 {
		return "", errUsage
	}
	return w.inside(ctx, args...)
}

// inside runs a command in the machine, which has to succeed.
func (w *world) inside(ctx context.Context, args ...string) (string, error) {
	done, err := w.machine.Hand.Run(ctx, hand.Command{Args: args})
	if err == nil && done.Exit != 0 {
		err = fmt.Errorf("%s: exit %s: %s%s", strings.Join(args, " "), strconv.Itoa(done.Exit), done.Out, done.Err)
	}
	return done.Out, err
}
