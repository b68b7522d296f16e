package shelf

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// maxAudit is how many audit lines are kept; the oldest go first.
const maxAudit = 100_000

// AuditLine says who did what.
type AuditLine struct {
	Seq     uint64    `json:"seq"` // counts up without holes
	Time    time.Time `json:"time"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Device  string    `json:"device,omitempty"`
	Release string    `json:"release,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}

// Audit appends a line.
func (s *Store) Audit(line AuditLine) error {
	err := s.db.Update(func(tx *bolt.Tx) error { return appendAudit(tx, line) })
	if err != nil {
		return fmt.Errorf("store: write an audit line: %w", err)
	}
	return nil
}

func appendAudit(tx *bolt.Tx, line AuditLine) error {
	b := tx.Bucket(auditBucket)
	seq, err := b.NextSequence()
	if err != nil {
		return err
	}
	line.Seq = seq
	if seq > maxAudit {
		if err := b.Delete(auditKey(seq - maxAudit)); err != nil {
			return err
		}
	}
	return put(tx, auditBucket, auditKey(seq), line)
}

func auditKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// AuditLines lists the newest lines, newest first.
func (s *Store) AuditLines(limit int) ([]AuditLine, error) {
	var lines []AuditLine
	err := s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(auditBucket).Cursor()
		for key, text := c.Last(); key != nil && len(lines) < limit; key, text = c.Prev() {
			var line AuditLine
			if err := json.Unmarshal(text, &line); err != nil {
				return fmt.Errorf("store: read an audit line: %w", err)
			}
			lines = append(lines, line)
		}
		return nil
	})
	return lines, err
}
