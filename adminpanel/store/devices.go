package store

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Device is what the panel remembers of a device that it has met.
type Device struct {
	ID       string    `json:"id"`
	Product  string    `json:"product,omitempty"`
	Hardware string    `json:"hardware,omitempty"`
	Version  string    `json:"version,omitempty"` // permanent when it was last seen
	LastSeen time.Time `json:"lastSeen,omitzero"`
}

// SaveDevice remembers d in the place of what was known of it.
func (s *Store) SaveDevice(d Device) error {
	// Batch: after a restart of the panel a whole fleet arrives at once.
	err := s.db.Batch(func(tx *bolt.Tx) error { return put(tx, deviceBucket, []byte(d.ID), d) })
	if err != nil {
		return fmt.Errorf("store: remember device %s: %w", d.ID, err)
	}
	return nil
}

// Devices lists the devices that were met, by name.
func (s *Store) Devices() ([]Device, error) { return all[Device](s.db, deviceBucket) }
