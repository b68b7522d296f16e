package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
)

// survivor is a device with two systems after a power cut.
type survivor struct {
	*testing.T
	firmware firmware
	cfg      config.Config
	dir      string // as rebooter has it
	may      remains

	agent   *agent.Agent
	running string
	boots   int
	asked   context.Context // done: a reboot was asked for
	end     context.CancelFunc
	ended   chan error
	said    lockedBuffer
}

func (b *blackout) surviving(t *testing.T, disk string, may remains) (*survivor, error) {
	run, err := os.MkdirTemp("/dev/shm", "run")
	if err != nil {
		return nil, err
	}
	s := &survivor{T: t, firmware: b.firmware, cfg: b.cfg, dir: filepath.Join(disk, "firmware"), may: may}
	s.cfg.State, s.cfg.Counter, s.cfg.Run = filepath.Join(disk, "state"), filepath.Join(disk, "counter"), run
	s.cfg.System = systemsIn(t, s.dir, b.firmware)
	return s, nil
}

// boot is one start. A system that is not the permanent one has one in its life.
func (s *survivor) boot() (err error) {
	if s.running, err = s.firmware.boot(s.T, s.dir); err != nil {
		return err
	}
	version, err := whole(s.dir, s.running)
	if err != nil {
		return fmt.Errorf("the boot loader started %q: %w", s.running, err)
	}
	record, err := recordIn(s.cfg.State)
	if err != nil {
		return err
	}
	if s.running != record.System {
		if s.may.started[version]++; s.may.started[version] > 1 {
			return fmt.Errorf("system %q is not permanent and was started %d times", version, s.may.started[version])
		}
	}
	s.boots++
	id, running := fmt.Sprint("survived ", s.boots), s.running
	asked, ask := context.WithCancel(context.Background())
	host := agent.Host{
		BootID:  func() (string, error) { return id, nil },
		Running: func() (string, error) { return running, nil },
		Uptime:  func() time.Duration { return 0 },
		Restart: func(context.Context) error { ask(); return nil },
	}
	s.asked = asked
	if s.agent, err = agent.NewOn(host, s.cfg, slog.New(slog.NewTextHandler(&s.said, nil))); err != nil {
		return err
	}
	ctx, end := context.WithTimeout(context.Background(), patience)
	a, ended := s.agent, make(chan error, 1)
	s.end, s.ended = end, ended
	go func() { ended <- a.Run(ctx) }()
	return nil
}

// off ends everything.
func (s *survivor) off() error {
	if s.agent == nil {
		return nil
	}
	a := s.agent
	s.agent = nil
	defer s.end()
	select {
	case <-a.Up(): // before that it has nothing to end
	case err := <-s.ended:
		return fmt.Errorf("the agent has ended: %w", err)
	}
	err := a.StopAll(context.Background())
	<-s.ended
	return err
}

// maxBoots are those after a power cut: into a system that is not the permanent one, and
// into that.
const maxBoots = 2

// settles starts the device until it asks for no more, and nothing is left to be done.
func (s *survivor) settles() error {
	for range maxBoots {
		if err := s.boot(); err != nil {
			return err
		}
		again, err := s.rests()
		if err != nil || !again {
			return err
		}
		if err := s.off(); err != nil {
			return err
		}
	}
	return errors.New("it is started anew again and again")
}

// rests waits until the device does what it is for: its permanent system and app run,
// and the boot loader agrees. Or it asks to be started anew.
func (s *survivor) rests() (again bool, err error) {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	defer context.AfterFunc(s.asked, cancel)()
	var is control.Status
	for {
		if is, err = s.agent.WaitStatus(ctx, is.Seq); s.asked.Err() != nil {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("it does not come to rest: %w; %+v", err, is)
		}
		resting := is.Phase == string(agent.PhaseIdle) || is.Phase == string(agent.PhaseStaged)
		if resting && is.Trial == nil && len(is.Problems) == 0 && s.agrees(is) {
			return false, nil
		}
	}
}

func (s *survivor) agrees(is control.Status) bool {
	record, err := recordIn(s.cfg.State)
	if err != nil || record.System != s.running || is.Permanent != record.Live[record.System].Version {
		return false
	}
	c, err := s.firmware.open(s.dir)
	if err != nil {
		return false
	}
	loader, err := c.State()
	return err == nil && loader.Permanent == s.running && loader.Trial == "" && loader.Slots[s.running].Bootable &&
		slot(is, record.Live[record.System].Slot).App == string(agent.AppRunning)
}

// updates installs a system, with the one reboot that this takes.
func (s *survivor) updates(next string) error {
	before := s.running
	if r := s.agent.Stage(s.Context(), control.StageRequest{Path: next}); r.Exit != control.ExitDone {
		return fmt.Errorf("the next update: %+v", r)
	}
	if r := s.agent.Activate(s.Context(), control.ActivateRequest{}); r.Exit != control.ExitDone {
		return fmt.Errorf("the next update: %+v", r)
	}
	select {
	case <-s.asked.Done():
	case err := <-s.ended:
		return fmt.Errorf("the next update asked for no reboot: %w", err)
	}
	if err := errors.Join(s.off(), s.boot()); err != nil {
		return err
	}
	if s.running == before {
		return fmt.Errorf("the next update: system %s was started again", before)
	}
	if again, err := s.rests(); err != nil || again {
		return fmt.Errorf("the next update: %w, it is to be started anew: %v", err, again)
	}
	if version, err := whole(s.dir, s.running); err != nil || version != "9.0.0" {
		return fmt.Errorf("after the next update system %q runs, %w", version, err)
	}
	return nil
}
