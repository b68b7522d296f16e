package agent_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/slots/powercut"
	"slipstream/verify"
	"slipstream/verify/trust"
)

const (
	bootID    = "/proc/sys/kernel/random/boot_id"
	firstBoot = "00000000-0000-4000-8000-000000000001\n"
	nextBoot  = "00000000-0000-4000-8000-000000000002\n"
)

// ownBoot runs the test in a process of its own that can be made to believe that
// the machine was started anew, since it has a mount namespace and a boot id of its
// own. It returns false to the one that waits for it.
func ownBoot(t *testing.T) (reboot func(id string), here bool) {
	const inside = "SLIPSTREAM_OWN_BOOT"
	if os.Getenv(inside) == "" {
		if os.Getuid() != 0 {
			t.Skip("a power cut is played in a mount namespace, which needs root")
		}
		args := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=" + flag.Lookup("test.timeout").Value.String()}
		args = append(args, "-powercut.seed="+fmt.Sprint(*powercut.Seed), "-powercut.full="+fmt.Sprint(*powercut.Full))
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return nil, false
	}
	own := filepath.Join(t.TempDir(), "boot_id")
	reboot = func(id string) {
		if err := os.WriteFile(own, []byte(id), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	reboot(firstBoot)
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""), unix.Mount(own, bootID, "", unix.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(bootID, 0) })
	return reboot, true
}

// outage is a device whose power fails.
type outage struct {
	*device
	disk     *powercut.Disk
	packages map[int]string
}

// newOutage makes a device that keeps everything it must not lose on a disk that
// may lose it.
func newOutage(t *testing.T) *outage {
	disk := powercut.New(t, nil)
	o := &outage{disk: disk, packages: map[int]string{}}
	o.device = newDeviceOn(t, disk.Dir)
	return o
}

func (o *outage) say(format string, args ...any) { o.must(o.disk.Mark(fmt.Sprintf(format, args...))) }

// version packs a version; each second one raises the security epoch.
func (o *outage) version(v int, script string) string {
	if o.packages[v] == "" {
		o.counts = int64(v) - 1
		script = fmt.Sprintf("tell() { %s/tell \"$1\"; }\n%s", o.cfg.Bin, script)
		o.packages[v] = o.pack(fmt.Sprintf("%d.0.0", v), script, func(m *verify.Manifest) { m.SecurityEpoch = epoch(v) })
	}
	return o.packages[v]
}

func epoch(v int) int64 { return int64(v) / 2 }

func (o *outage) update(v int) {
	o.say("commits %d", v)
	if r := o.install(o.version(v, goodApp)); r.Exit != control.ExitDone {
		o.Fatalf("install %d: %+v", v, r)
	}
	o.say("committed %d", v)
	o.say("remembers")
}

// refuse is a package for another camera.
func (o *outage) refuse() {
	foreign := func(m *verify.Manifest) { m.Product = "toaster" }
	if r := o.stage(o.pack("1.0.0", mute, foreign)); r.Exit != control.ExitRefused {
		o.Fatalf("stage a foreign package: %+v", r)
	}
	o.say("remembers")
}

// revert has a version on trial that is taken back.
func (o *outage) revert(v int) {
	o.begin(o.version(v, mute))
	o.wait("trial", inPhase(string(agent.PhaseTrial)))
	if r := o.agent.Revert(o.Context()); r.Exit != control.ExitDone {
		o.Fatalf("revert %d: %+v", v, r)
	}
	o.say("remembers")
}

// film is what the app writes into its data, and flushes as one must. What it was
// told is kept must be there in every version from then on.
func (o *outage) film() {
	status, err := o.agent.Status(o.Context())
	o.must(err)
	i := slices.IndexFunc(status.Slots, func(s control.Slot) bool { return s.State == control.StatePermanent })
	dir := filepath.Join(o.cfg.State, "data", status.Slots[i].Name)
	f, err := os.Create(filepath.Join(dir, "film"))
	o.must(err)
	_, err = f.WriteString("a film")
	o.must(errors.Join(err, f.Sync(), f.Close()))
	d, err := os.Open(dir)
	o.must(err)
	o.must(errors.Join(d.Sync(), d.Close()))
	o.say("film")
}

// TestPowerCutOfADevice cuts the power of a whole device, but for its media, at
// every instant of its life: two versions that become permanent after the first
// one, one that does not, and an agent that ends.
func TestPowerCutOfADevice(t *testing.T) {
	reboot, here := ownBoot(t)
	if !here {
		return
	}
	o := newOutage(t)
	o.refuse()
	o.update(1)
	o.film()
	o.update(2)
	o.revert(3)
	o.device.restart()
	o.update(4)
	log, err := o.disk.Log()
	o.must(err)
	next := o.version(9, goodApp)

	o.must(o.agent.StopAll(t.Context())) // in the next boot nobody would know what runs of this one
	reboot(nextBoot)
	e := &powercut.Explorer{Limit: 16, Restarts: 60, Workers: 4, Check: func(dir string, told []string) error {
		return comesUp(t, o.cfg, dir, told, next)
	}}
	if *powercut.Full {
		e.Limit, e.Restarts = 64, 0
	}
	tally, err := e.Run(log, 0)
	t.Logf("power cut: seed=%d %v, of at most %d states a cut", *powercut.Seed, tally, e.Limit)
	o.must(err)

	needed := powercut.Needed{}
	e.Restarts = 40
	seen, err := e.Unheard(own(log), needed)
	o.must(err)
	t.Logf("without one flush: %d restarts, %d found bad", seen.Restarts, seen.Bad)
	o.must(needed.Check(map[string]string{
		"agent.openJournal":         "the trust state's first write flushes the same directory, mostly before there is a history",
		"slots.MakeDir < agent.New": "an agent that died just before; the slots' own test plays that",
	}))
}

// own leaves out who flushes what others' tests answer for: the slots and the trust
// state have tests like this one, and the journal's database is not ours.
func own(log powercut.Log) powercut.Log {
	log.Ops = slices.Clone(log.Ops)
	for i, o := range log.Ops {
		if !flushOfAgent.MatchString(o.Caller) || strings.HasSuffix(o.Path, "/journal.db") {
			log.Ops[i].Caller = ""
		}
	}
	return log
}

var flushOfAgent = regexp.MustCompile(`^(slots\.(syncDir|MakeDir) [^<]*< )*agent\.`)

// allowed is what a device may find, by what it was told.
type allowed struct {
	versions []int // that may be permanent; 0 is none
	film     bool
	history  int // lines at least
}

func allowedAfter(told []string) allowed {
	a := allowed{versions: []int{0}}
	for _, word := range told {
		var v int
		switch n, _ := fmt.Sscanf(word, "commits %d", &v); {
		case n == 1:
			a.versions = append(a.versions, v)
		case word == "film":
			a.film = true
		case word == "remembers":
			a.history++
		default:
			if _, err := fmt.Sscanf(word, "committed %d", &v); err == nil {
				a.versions = []int{v}
			}
		}
	}
	return a
}

// comesUp starts the device again with what its disk holds, and then updates it.
func comesUp(t *testing.T, cfg config.Config, disk string, told []string, next string) (err error) {
	run, err := os.MkdirTemp("/dev/shm", "run")
	if err != nil {
		return err
	}
	defer os.RemoveAll(run)
	cfg.State, cfg.Counter, cfg.Run = filepath.Join(disk, "state"), filepath.Join(disk, "counter"), run
	var said lockedBuffer
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nthe agent's log:\n%s", err, said.String())
		}
	}()
	may := allowedAfter(told)
	if err := notBeyond(cfg); err != nil {
		return err
	}
	a, err := agent.New(cfg, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		err = errors.Join(err, a.StopAll(context.Background()))
		<-ended
	}()
	v, err := runs(ctx, a, may)
	if err != nil {
		return err
	}
	if err := keptData(cfg, a, ctx, may); err != nil {
		return err
	}
	if err := floors(cfg, v); err != nil {
		return err
	}
	if history, err := a.History(ctx, 100); err != nil || len(history) < may.history {
		return fmt.Errorf("of %d lines of its history it knows %d, %w", may.history, len(history), err)
	}
	if r := control.Install(ctx, a, control.StageRequest{Path: next}, true); r.Exit != control.ExitDone {
		return fmt.Errorf("the next update: %+v", r)
	}
	_, err = runs(ctx, a, allowed{versions: []int{9}})
	return err
}

// runs waits for the permanent version to run, and returns its number.
func runs(ctx context.Context, a *agent.Agent, may allowed) (v int, err error) {
	var s control.Status
	for {
		if s, err = a.WaitStatus(ctx, s.Seq); err != nil {
			return 0, fmt.Errorf("it does not come up: %w; %+v", err, s)
		}
		if len(s.Problems) > 0 {
			return 0, fmt.Errorf("it complains: %q", s.Problems)
		}
		fmt.Sscanf(s.Permanent, "%d.", &v)
		if !slices.Contains(may.versions, v) {
			return 0, fmt.Errorf("version %q is permanent, of %v", s.Permanent, may.versions)
		}
		resting := s.Phase == string(agent.PhaseIdle) || s.Phase == string(agent.PhaseStaged)
		if resting && v == 0 {
			return 0, nil
		}
		i := slices.IndexFunc(s.Slots, func(s control.Slot) bool { return s.State == control.StatePermanent })
		if resting && i >= 0 && s.Slots[i].App == string(agent.AppRunning) {
			return v, nil
		}
	}
}

// notBeyond looks at the floors before the agent has caught up.
func notBeyond(cfg config.Config) error {
	record, err := slots.OpenRecord(cfg.State)
	if err != nil {
		return nil // there is no state yet
	}
	defer record.Close()
	r, err := record.Load()
	if err != nil && !errors.Is(err, slots.ErrNoRecord) {
		return err
	}
	lowest := r.Live["a"].Counter
	if p := r.Live["a"].Previous; p != nil {
		lowest = min(lowest, p.Counter)
	}
	_, device, err := agent.Trust(cfg)
	if err != nil {
		return err
	}
	if device.FloorCounter > lowest || device.FloorEpoch > epoch(int(lowest)) {
		return fmt.Errorf("the floors are at %d and %d, and version %d must be able to run", device.FloorCounter, device.FloorEpoch, lowest)
	}
	return nil
}

// floors must have caught up with the version that is permanent: nobody else has a
// way back to one before the one before it.
func floors(cfg config.Config, v int) error {
	previous := map[int]int{0: 0, 1: 1, 2: 1, 4: 2}[v]
	_, device, err := agent.Trust(cfg)
	if err != nil {
		return err
	}
	hardware, err := trust.FileCounter(cfg.Counter).Read()
	if err != nil {
		return err
	}
	want := [3]int64{int64(previous), epoch(previous), epoch(previous)}
	if got := [3]int64{device.FloorCounter, device.FloorEpoch, int64(hardware)}; got != want {
		return fmt.Errorf("with version %d permanent the floors are %v, want %v", v, got, want)
	}
	return nil
}

// keptData finds the film in the data of the version that runs.
func keptData(cfg config.Config, a *agent.Agent, ctx context.Context, may allowed) error {
	if !may.film {
		return nil
	}
	s, err := a.Status(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.Slots, func(s control.Slot) bool { return s.State == control.StatePermanent })
	raw, err := os.ReadFile(filepath.Join(cfg.State, "data", s.Slots[i].Name, "film"))
	if err == nil && string(raw) != "a film" {
		err = fmt.Errorf("the film is %q", raw)
	}
	if err != nil {
		return fmt.Errorf("the data of version %s in slot %s: %w", s.Permanent, s.Slots[i].Name, err)
	}
	return nil
}

// lockedBuffer is a log in memory.
type lockedBuffer struct {
	mu  sync.Mutex
	out strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}
