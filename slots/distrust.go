package slots

import (
	"context"
	"fmt"
)

// Distrust makes a slot that was found damaged hold nothing that may be started. What
// is in it stays: the next stage takes from it what is right, and fetches the rest.
// A slot that holds nothing staged stays as it is.
func (s *Set) Distrust(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	done, err := s.claim(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	st, err := s.readState(name)
	if err != nil || st.State != StateStaged {
		return nil // what cannot be read starts nothing
	}
	s.forgetVerified(name)
	if err := s.markWriting(s.disk, name, st); err != nil {
		return fmt.Errorf("slots: distrust slot %s: %w", name, err)
	}
	return nil
}
