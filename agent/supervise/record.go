package supervise

import (
	"encoding/json"
	"fmt"
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
	Notify  string    `json:"notify,omitempty"`
	Ready   bool      `json:"ready,omitempty"` // it has said READY=1
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

// readRecord returns false for a record that is missing, unreadable or of
// another boot: in each case there is nothing to adopt.
func readRecord(path, name string) (record, bool) {
	var r record
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxRecord {
		return r, false
	}
	raw, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return r, false
	}
	ok := r.Format == recordFormat && r.Name == name && r.Token != "" && r.BootID != "" && r.BootID == bootID()
	return r, ok
}
