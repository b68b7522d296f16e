package shelf

import (
	"cmp"
	"encoding/json"
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

// SaveDevice remembers d. What d leaves empty stays as it was known.
func (s *Store) SaveDevice(d Device) error {
	// Batch: after a restart of the panel a whole fleet arrives at once.
	err := s.db.Batch(func(tx *bolt.Tx) error {
		var known Device
		if text := tx.Bucket(deviceBucket).Get([]byte(d.ID)); text != nil {
			if err := json.Unmarshal(text, &known); err != nil {
				return err
			}
		}
		return put(tx, deviceBucket, []byte(d.ID), Device{
			ID:       d.ID,
			Product:  cmp.Or(d.Product, known.Product),
			Hardware: cmp.Or(d.Hardware, known.Hardware),
			Version:  cmp.Or(d.Version, known.Version),
			LastSeen: d.LastSeen,
		})
	})
	if err != nil {
		return fmt.Errorf("store: remember device %s: %w", d.ID, err)
	}
	return nil
}

// Devices lists the devices that were met, by name.
func (s *Store) Devices() ([]Device, error) { return all[Device](s.db, deviceBucket) }
