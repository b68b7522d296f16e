package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/slots"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/testrig/stand"
	"slipstream/verify"
)

const (
	idleAfter    = 5 * time.Second // after an update, before the agent counts as idle
	megabyte     = 1e6
	transitions  = 10_000
	perUpdate    = 10 // transitions of one update in replay
	commitWrites = 4  // of the journal between a marker and the version's being permanent
)

// size is what the agent's program weighs for the devices that it is meant for.
func (b *agentBench) size(ctx context.Context) ([]Figure, error) {
	out := filepath.Join(b.dir, "slipstream-arm64")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "slipstream/agent/cmd/slipstream")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build for arm64: %w\n%s", err, said)
	}
	info, err := os.Stat(out)
	if err != nil {
		return nil, err
	}
	return []Figure{{Name: "agent, stripped, arm64", Value: float64(info.Size()) / megabyte, Unit: "MB", Targets: []Target{atMost(16)}}}, os.Remove(out)
}

// idle is what the agent needs while its camera works and nobody asks for anything.
func (b *agentBench) idle(ctx context.Context) ([]Figure, error) {
	pid, err := b.agentPID()
	if err != nil {
		return nil, err
	}
	if !agent.Wait(ctx, idleAfter) {
		return nil, ctx.Err()
	}
	before, err := cpuTime([]int{pid})
	if err != nil {
		return nil, err
	}
	begun := publish.Monotonic()
	if !agent.Wait(ctx, b.Idle) {
		return nil, ctx.Err()
	}
	after, err := cpuTime([]int{pid})
	if err != nil {
		return nil, err
	}
	share := 100 * float64(after-before) / float64(publish.Monotonic()-begun)
	resident, private, err := memoryOf(pid)
	if err != nil {
		return nil, err
	}
	return []Figure{
		{Name: "agent idle, resident memory", Value: resident, Unit: "MB", Targets: []Target{atMost(20)}, Reference: "not of its program's file", ReferenceValue: private},
		{Name: "agent idle, CPU of one core", Value: share, Unit: "%", Targets: []Target{atMost(0.1)}},
	}, nil
}

func (b *agentBench) agentPID() (int, error) {
	raw, err := os.ReadFile(filepath.Join(b.Config.Run, "agent.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(raw)))
}

// memoryOf is a process's resident memory in MB, all of it and without pages of files.
func memoryOf(pid int) (resident, anonymous float64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(raw)) {
		var kb float64
		switch name, rest, _ := strings.Cut(line, ":"); name {
		case "VmRSS", "RssAnon":
			if _, err := fmt.Sscan(rest, &kb); err != nil {
				return 0, 0, err
			}
			if name == "VmRSS" {
				resident = kb * 1024 / megabyte
			} else {
				anonymous = kb * 1024 / megabyte
			}
		}
	}
	return resident, anonymous, nil
}

// commits are updates that become permanent.
func (b *agentBench) commits(ctx context.Context) ([]Figure, error) {
	var began, recorded, permanent, spawned, written []time.Duration
	for i := range b.Runs {
		_, start, err := b.update(ctx)
		if err != nil {
			return nil, fmt.Errorf("update %d: %w", i, err)
		}
		inRecord, seen, err := b.commit(ctx)
		if err != nil {
			return nil, fmt.Errorf("update %d: %w", i, err)
		}
		alone, err := b.spawn(ctx)
		if err != nil {
			return nil, err
		}
		disk, err := b.diskFloor()
		if err != nil {
			return nil, err
		}
		began, recorded, permanent = append(began, start), append(recorded, inRecord), append(permanent, seen)
		spawned, written = append(spawned, alone), append(written, disk)
	}
	floor := fmt.Sprintf("its fsyncs alone (%d journal commits, two copies of the record), p50", commitWrites)
	return []Figure{
		{Name: "activate → new app's program runs, p50", Value: percentile(began, 50), Unit: "ms", Targets: []Target{atMost(20)},
			Reference: "the program started by a shell's hand, p50", ReferenceValue: percentile(spawned, 50), Samples: milliseconds(began), ReferenceSamples: milliseconds(spawned)},
		{Name: "marker → active record replaced, p50", Value: percentile(recorded, 50), Unit: "ms", Samples: milliseconds(recorded)},
		{Name: "marker → permanent, p50", Value: percentile(permanent, 50), Unit: "ms", Targets: []Target{atMost(20)},
			Reference: floor, ReferenceValue: percentile(written, 50), Samples: milliseconds(permanent), ReferenceSamples: milliseconds(written)},
	}, nil
}

// spawn is how long it takes to start the same program without an agent.
func (b *agentBench) spawn(ctx context.Context) (time.Duration, error) {
	file := filepath.Join(b.dir, beganFile)
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	return until(ctx, b.dir, unix.IN_CREATE, func() error {
		return exec.CommandContext(ctx, "/bin/sh", "-c", ": >"+file).Run()
	})
}

// diskFloor is what a commit writes, one after the other, with nothing between.
func (b *agentBench) diskFloor() (took time.Duration, err error) {
	dir, err := os.MkdirTemp(b.Config.State, "floor")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	record, err := slots.OpenRecord(dir)
	if err != nil {
		return 0, err
	}
	defer record.Close()
	r := slots.Record{System: "a", Live: map[string]slots.Live{"a": {Slot: "a", Version: "1.0.0"}}}
	db, err := bbolt.Open(filepath.Join(dir, "journal.db"), 0o600, nil)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	value := make([]byte, 8<<10) // about a state
	write := func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("state"))
			if err != nil {
				return err
			}
			return bucket.Put([]byte("state"), value)
		})
	}
	if err := errors.Join(record.Replace(r), write()); err != nil { // their files are made
		return 0, err
	}
	begun := publish.Monotonic()
	err = record.Replace(r)
	for range commitWrites {
		err = errors.Join(err, write())
	}
	return publish.Monotonic() - begun, err
}

// reverts are versions that are killed on trial. The agent has decided when it begins to
// write its journal; what the forwarder does for viewers meanwhile is measured by [Kill].
func (b *agentBench) reverts(ctx context.Context) ([]Figure, error) {
	var decided, woke, over []time.Duration
	for i := range b.Runs {
		if _, _, err := b.update(ctx); err != nil {
			return nil, fmt.Errorf("revert %d: %w", i, err)
		}
		d, w, o, err := b.killOnce(ctx)
		if err != nil {
			return nil, fmt.Errorf("revert %d: %w", i, err)
		}
		decided, woke, over = append(decided, d-w), append(woke, w), append(over, o)
	}
	return []Figure{
		{Name: "app's pidfd → revert decided by the agent, p50", Value: percentile(decided, 50), Unit: "ms", Targets: []Target{atMost(2)},
			Reference: "kill → pidfd wake-up of another process, p50", ReferenceValue: percentile(woke, 50), Samples: milliseconds(decided), ReferenceSamples: milliseconds(woke)},
		{Name: "kill → trial over, p50", Value: percentile(over, 50), Unit: "ms", Samples: milliseconds(over)},
	}, nil
}

func (b *agentBench) killOnce(ctx context.Context) (decided, woke, over time.Duration, err error) {
	s, err := b.Client.Status(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	pid := 0
	for _, slot := range s.Slots {
		if s.Trial != nil && slot.Name == s.Trial.Slot {
			pid = slot.PID
		}
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("the app on trial: %w", err)
	}
	defer unix.Close(pidfd)
	ended := death(pidfd)
	var killed time.Duration
	decided, err = until(ctx, filepath.Join(b.Config.State, "journal.db"), unix.IN_MODIFY, func() error {
		killed = publish.Monotonic()
		return unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	})
	w := <-ended
	if err := errors.Join(err, w.err); err != nil {
		return 0, 0, 0, err
	}
	_, err = b.WaitStatus(ctx, "the revert", func(s control.Status) bool { return s.Trial == nil })
	return decided, w.at - killed, publish.Monotonic() - killed, err
}

// replay takes so many transitions of whole updates, each read from and written to the
// journal's own form, as an agent that is started anew between any two of them does.
func (b *agentBench) replay(context.Context) ([]Figure, error) {
	begun := publish.Monotonic()
	var raw []byte
	var s agent.State
	var now int64
	wall := time.Now()
	step := func(what any) error {
		now += int64(time.Second)
		if e, ok := what.(agent.AppStarted); ok {
			e.At = now
			what = e
		}
		next, _ := agent.Step(s, agent.Event{Now: now, Wall: wall, What: what})
		var err error
		if raw, err = json.Marshal(next); err != nil {
			return err
		}
		s = agent.State{}
		return json.Unmarshal(raw, &s)
	}
	if err := step(agent.Recover{Boot: "boot"}); err != nil {
		return nil, err
	}
	for n := int64(1); n <= transitions/perUpdate; n++ {
		if err := replayUpdate(step, &s, n); err != nil {
			return nil, err
		}
	}
	took := float64(publish.Monotonic()-begun) / float64(time.Second)
	return []Figure{{Name: fmt.Sprintf("%d transitions of the journal replayed", transitions), Value: took, Unit: "s", Targets: []Target{atMost(1)}}}, nil
}

// replayUpdate is an update from its staging to the end of the version before.
func replayUpdate(step func(any) error, s *agent.State, n int64) error {
	v := agent.Version{
		Version: fmt.Sprintf("%d.0", n), Digest: fmt.Sprintf("digest-%d", n), Image: fmt.Sprintf("image-%d", n), App: "contract", Counter: n, Streams: []string{stand.Stream},
		Rules: agent.Rules{Greenlight: verify.GreenlightApp, StartTimeout: time.Minute, Deadline: time.Hour, Soak: time.Millisecond, StopTimeout: time.Second},
	}
	for _, what := range []func() any{
		func() any { return agent.StageAsked{Version: v} },
		func() any { return agent.StageDone{Attempt: s.Stage.Attempt} },
		func() any { return agent.ActivateAsked{} },
		func() any { return agent.AppStarted{Source: s.Trial.Source, PID: 1} },
		func() any { return agent.AppReady{Source: s.Trial.Source} },
		func() any {
			return agent.TookOver{Switched: orders.Switched{Trial: s.Trial.ID, Source: s.Trial.Source}}
		},
		func() any { return agent.MarkerSeen{Trial: s.Trial.ID} },
		func() any { return agent.Held{Trial: s.Trial.ID} },
		func() any { return agent.RecordWritten{Trial: s.Trial.ID} },
		func() any { return agent.Settled{Trial: s.Trial.ID} },
	} {
		if err := step(what()); err != nil {
			return err
		}
	}
	if s.Permanent.Version != v.Version || s.Phase != agent.PhaseIdle {
		return fmt.Errorf("update %d ended in phase %s with version %s", n, s.Phase, s.Permanent.Version)
	}
	for i := range s.Apps { // the version before has ended
		if source := s.Apps[i].Source; source != "" && s.Apps[i].Status == agent.AppStopping {
			return step(agent.AppExited{Source: source})
		}
	}
	return nil
}

func milliseconds(samples []time.Duration) (ms []float64) {
	for _, d := range samples {
		ms = append(ms, float64(d)/float64(time.Millisecond))
	}
	return ms
}
