package scenarios

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
	"slipstream/testrig/device"
	"slipstream/testrig/machine"
	"slipstream/verify"
)

// Patience is how long a command waits by default.
const Patience = 8 * time.Minute

// Options of a run.
type Options struct {
	Archs     []string      // of the machines; none for all
	Scenarios []string      // files, or names of those that come with the rig; none for all of these
	Package   string        // a vendor's, which scenarios stage as "package"; "" for none
	From      string        // the vendor's version that the camera comes with; "" for Package
	Trust     string        // PEM file of the keys that have signed both
	Patience  time.Duration // of one command; 0 for [Patience]
	Verbose   bool          // also the logs of what went well
	Pictures  bool          // of what viewers saw
	Out       io.Writer
}

// Result is what became of one scenario on one architecture.
type Result struct {
	Scenario string        `json:"scenario"`
	Arch     string        `json:"arch"`
	Passed   bool          `json:"passed"`
	Took     time.Duration `json:"took_ns"`
	Log      string        `json:"log"`
	Console  string        `json:"console"`
	Viewers  []Seen        `json:"viewers"`
	Ends     []End         `json:"ends"` // of trials, those that the scenario has waited for
}

//go:embed *.txt
var own embed.FS

// forVendors begins the names of scenarios that play with a vendor's package.
const forVendors = "package-"

// Names are the scenarios that come with the rig.
func Names() (names []string) {
	files, _ := fs.Glob(own, "*.txt") // the pattern is right
	for _, file := range files {
		names = append(names, strings.TrimSuffix(file, ".txt"))
	}
	return names
}

// usual are those that are played where none is named.
func usual() []string {
	return slices.DeleteFunc(Names(), func(name string) bool { return strings.HasPrefix(name, forVendors) })
}

// errFailed is a run in which a scenario has failed; all that is to be said is printed.
var errFailed = errors.New("scenarios have failed")

// Run plays scenarios, one machine after the other, and prints what becomes of them.
func Run(ctx context.Context, opts Options) (results []Result, err error) {
	begin := time.Now()
	if opts.Pictures {
		if err := needDecoder(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "slip-rig-") // a socket's path must be short
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := opts.files(dir)
	if err != nil {
		return nil, err
	}
	archs, err := opts.archs()
	if err != nil {
		return nil, err
	}
	for _, arch := range archs {
		done, err := opts.on(ctx, arch, filepath.Join(dir, arch.Name), files)
		results = append(results, done...)
		if err != nil {
			return results, err
		}
	}
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	fmt.Fprintf(opts.Out, "total time %v\nscenarios passed=%d failed=%d\n", time.Since(begin).Round(time.Second), len(results)-failed, failed)
	if failed > 0 {
		return results, errFailed
	}
	return results, nil
}

// files are the scenarios to be played.
func (o Options) files(dir string) (files []string, err error) {
	names := o.Scenarios
	if len(names) == 0 {
		names = usual()
	}
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			if _, err := os.Stat(name); err != nil {
				return nil, fmt.Errorf("scenario %s: it is neither a file nor one of %s", name, strings.Join(Names(), ", "))
			}
			files = append(files, name)
			continue
		}
		text, err := own.ReadFile(name + ".txt")
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, name+".txt")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (o Options) archs() (archs []machine.Arch, err error) {
	if len(o.Archs) == 0 {
		return machine.Arches, nil
	}
	for _, name := range o.Archs {
		arch, err := machine.ArchOf(name)
		if err != nil {
			return nil, err
		}
		archs = append(archs, arch)
	}
	return archs, nil
}

// on plays all scenarios on one architecture, each with a new camera.
func (o Options) on(ctx context.Context, arch machine.Arch, dir string, files []string) (results []Result, err error) {
	say := func(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	kit, err := machine.NewKit(ctx, arch, say)
	if err != nil {
		return nil, err
	}
	say("making a new camera's disk")
	factory, err := machine.NewFactory(kit, dir)
	if err != nil {
		return nil, err
	}
	vendor, err := o.vendor()
	if err != nil {
		return nil, err
	}
	if err := newCamera(ctx, factory, vendor); err != nil {
		return nil, err
	}
	say("booting it once, for the scenarios to begin with")
	kept, err := o.bootOnce(ctx, factory, dir)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		r := o.play(ctx, factory, vendor, kept, file)
		results = append(results, r)
		word := "ok  "
		if !r.Passed {
			word = "FAIL"
		}
		say("%s %-6s %-20s %4.0f s", word, r.Arch, r.Scenario, r.Took.Seconds())
		if !r.Passed || o.Verbose {
			say("%s", r.Log)
		}
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
	}
	return results, nil
}

// play plays one scenario.
func (o Options) play(ctx context.Context, factory *machine.Factory, vendor *vendor, kept, file string) Result {
	begin := time.Now()
	w := o.world(ctx, factory)
	w.kept = kept
	w.offer(vendor)
	t := &teller{verbose: o.Verbose}
	over := make(chan struct{})
	go func() { // testscript leaves a failed run by runtime.Goexit
		defer close(over)
		testscript.RunT(t, w.params(file))
	}()
	<-over
	return Result{
		Scenario: strings.TrimSuffix(filepath.Base(file), ".txt"), Arch: factory.Kit.Arch.Name,
		Passed: !t.failed, Took: time.Since(begin), Log: t.text.String(), Console: w.console, Viewers: w.seen, Ends: w.ends,
	}
}

func (o Options) world(ctx context.Context, factory *machine.Factory) *world {
	return &world{ctx: ctx, patience: o.patience(), pictures: o.Pictures, factory: factory, packages: map[string]release{}, viewers: map[string]*seat{}, counter: 1}
}

// bootOnce makes a file of a camera that is up and shows a picture.
func (o Options) bootOnce(ctx context.Context, factory *machine.Factory, dir string) (kept string, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.patience())
	defer cancel()
	w := o.world(ctx, factory)
	defer w.end()
	if err := w.add(); err != nil {
		return "", err
	}
	if w.machine, err = machine.New(ctx, factory.Kit.Arch, factory.Disk, w.dir); err != nil {
		return "", err
	}
	if _, err := w.boot(ctx, nil); err != nil {
		return "", err
	}
	kept = filepath.Join(dir, "kept.qcow2")
	return kept, w.machine.Keep(ctx, kept)
}

func (o Options) patience() time.Duration {
	if o.Patience > 0 {
		return o.Patience
	}
	return Patience
}

// teller is testscript's test outside of a test.
type teller struct {
	text    strings.Builder
	verbose bool
	failed  bool
}

var _ testscript.T = (*teller)(nil)

func (t *teller) Log(args ...any) { fmt.Fprintln(&t.text, args...) }

// Skip is a failure: a scenario that was asked for was not played.
func (t *teller) Skip(args ...any)  { t.Fatal(args...) }
func (t *teller) Fatal(args ...any) { t.Log(args...); t.FailNow() }
func (t *teller) Parallel()         {}
func (t *teller) Verbose() bool     { return t.verbose }

func (t *teller) FailNow() {
	t.failed = true
	runtime.Goexit()
}

// Run runs a part, whose failure ends nothing but itself.
func (t *teller) Run(_ string, part func(testscript.T)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		part(t)
	}()
	<-done
}

// lag is how late a picture may be before the camera itself leaves it out: emulation
// stands still for seconds where much else goes on, and what is judged is whether
// viewers got what was captured.
const lag = 30 * time.Second

// cameraRelease is a version of the sample camera, with times for slow machines.
func cameraRelease(version string, counter int64) device.Release {
	clip, err := clips.Of(version)
	if err != nil {
		clip = clips.All[0]
	}
	return device.Release{
		Version: version, Counter: counter, Clip: clip, Streams: []string{"main"}, Lag: lag,
		Greenlight: camera.Greenlight{By: "app", AfterMS: 500}, Fault: camera.Fault{Kind: camera.FaultNone},
		App: verify.App{
			DeadlineMS: 120_000, StartTimeoutMS: 60_000, SoakMS: 2000,
			State: &verify.State{Schema: camera.StateSchema},
		},
	}
}
