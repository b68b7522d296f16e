package supervise_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"slipstream/agent/supervise"
)

// A program runs only if the check has nothing against it, which is asked while a
// launcher waits for its order, or before there is anything.
func TestNothingRunsThatTheCheckRefuses(t *testing.T) {
	for name, confined := range map[string]bool{"plain": false, "confined": true} {
		t.Run(name, func(t *testing.T) {
			run, dir := t.TempDir(), t.TempDir()
			s := newSupervisor(t, run)
			ran := filepath.Join(dir, "ran")
			spec := shell("app", "echo >"+ran)
			if confined {
				spec.Confine = &supervise.Confinement{WhyNoUser: "nobody asked for one", Write: []string{dir}}
			}
			refused := errors.New("not what was signed")
			spec.Check = func() error { return refused }
			if _, err := s.Start(spec); !errors.Is(err, refused) {
				t.Errorf("start: %v", err)
			}
			if left, err := os.ReadDir(filepath.Join(run, "proc")); err != nil || len(left) > 0 {
				t.Errorf("of a refused process there is left: %v, %v", left, err)
			}
			spec.Check = func() error {
				_, err := os.Stat(ran)
				if !errors.Is(err, os.ErrNotExist) {
					t.Errorf("it ran before it was checked: %v", err)
				}
				return nil
			}
			p := start(t, s, spec)
			if exit := waitDone(t, p); exit.Code != 0 {
				t.Errorf("exit: %v", exit)
			}
			if _, err := os.Stat(ran); err != nil {
				t.Error(err)
			}
		})
	}
}
