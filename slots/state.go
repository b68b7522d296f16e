package slots

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"slipstream/slots/verity"
)

const (
	stateFormat = 1
	maxState    = 16 << 10
)

// errBadState is a state file that says nothing we can rely on.
var errBadState = errors.New("its state file cannot be read")

// state is state.json. Fields are only ever added.
type state struct {
	Format   int       `json:"format"`
	State    string    `json:"state"`
	Digest   string    `json:"digest,omitempty"`
	Version  string    `json:"version,omitempty"`
	Kind     string    `json:"kind,omitempty"`
	Size     int64     `json:"size,omitempty"`
	SHA256   string    `json:"sha256,omitempty"`
	By       string    `json:"by,omitempty"`
	StagedAt time.Time `json:"stagedAt,omitzero"`

	Verity *verity.Params `json:"verity,omitempty"`
	Cost   *Report        `json:"cost,omitempty"`
}

// readState returns StateEmpty for a slot without a state file.
func (s *Set) readState(name string) (state, error) {
	raw, err := s.readFile(name+"/"+stateName, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return state{State: StateEmpty}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("%w: %w", errBadState, err)
	}
	var st state
	if err := json.Unmarshal(raw, &st); err != nil {
		return state{}, fmt.Errorf("%w: %w", errBadState, err)
	}
	if st.Format != stateFormat || st.State != StateWriting && st.State != StateStaged {
		return state{}, fmt.Errorf("%w: format %d, state %q", errBadState, st.Format, st.State)
	}
	return st, nil
}

func (s *Set) writeState(on disk, name string, st state) error {
	raw, err := json.Marshal(st)
	if err != nil {
		return err
	}
	d, err := on.Sub(name)
	if err != nil {
		return err
	}
	return errors.Join(replaceFile(d, stateName, raw), d.Close())
}

func (s *Set) markWriting(on disk, name string, st state) error {
	st.Format, st.State = stateFormat, StateWriting
	return s.writeState(on, name, st)
}

func (s *Set) markStaged(on disk, name string, st state, now time.Time) error {
	st.Format, st.State, st.StagedAt = stateFormat, StateStaged, now.UTC().Round(time.Second)
	return s.writeState(on, name, st)
}
