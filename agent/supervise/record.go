package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	recordFormat = 1
	maxRecord    = 16 << 10
)

// record is what the next agent must know to adopt a process. PID is 0 until the
// process exists.
type record struct {
	Format  int       `json:"format"`
	Name    string    `json:"name"`
	PID     int       `json:"pid"`
	Start   uint64    `json:"start"` // field 22 of /proc/PID/stat
	BootID  string    `json:"bootId"`
	Token   string    `json:"token"`
	Log     string    `json:"log"`
	LogFrom int64     `json:"logFrom,omitempty"` // where in Log this process's lines begin
	Notify  string    `json:"notify,omitempty"`
	Ready   bool      `json:"ready,omitempty"` // it has said READY=1
	FDStore bool      `json:"fdStore,omitempty"`
	Started time.Time `json:"started"`
}

// write replaces the record whole. It is not synced: it serves agents of this
// boot only, and the kernel keeps what a dead process has written.
func (r record) write(path string) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return fmt.Errorf("record the process: %w", err)
	}
	return os.Rename(path+".new", path)
}

// readRecord returns errEnded for a record that is missing, makes no sense or is
// of another boot: in each case there is nothing to adopt. After another error
// there may be.
func readRecord(path, name string) (record, error) {
	var r record
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%w: there is no record of it", errEnded)
	}
	if err != nil {
		return r, err
	}
	if info.Size() > maxRecord {
		return r, fmt.Errorf("%w: its record is too long", errEnded)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	boot, err := bootID()
	if err != nil {
		return r, err
	}
	if json.Unmarshal(raw, &r) != nil || r.Format != recordFormat || r.Name != name || r.Token == "" {
		return record{}, fmt.Errorf("%w: its record makes no sense", errEnded)
	}
	if r.BootID != boot {
		return record{}, fmt.Errorf("%w: its record is of another boot", errEnded)
	}
	return r, nil
}
