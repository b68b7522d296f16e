package shelf

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Enrolled is the directory of the devices that may call. Several processes may use
// it at once.
type Enrolled struct{ dir string }

// Member is what makes a caller one of the enrolled devices: its name and its key.
type Member struct {
	Key     string    `json:"key"` // SHA-256 of its public key, in hex
	Since   time.Time `json:"since"`
	Revoked bool      `json:"revoked,omitempty"`
}

// Why a device may not enrol, or is not revoked.
var (
	ErrNameTaken = errors.New("another device has this name: make a token for the name, which lets this one take its place")
	ErrRevoked   = errors.New("a device of this name was revoked: only a token for the name lets it in again")
)

// revokedMark changes whenever a device is revoked, so that a panel that runs notices
// without reading them all.
const revokedMark = ".revoked"

// OpenEnrolled opens them in a panel's data directory, which a running panel may
// have open.
func OpenEnrolled(data string) (Enrolled, error) {
	dir := filepath.Join(data, "enrolled")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Enrolled{}, fmt.Errorf("store: make the directory of devices: %w", err)
	}
	return Enrolled{dir}, nil
}

// Enrol lets a device in. One that has the name already with another key, or was
// revoked, gives way only if the operator named it when he made the token.
func (e Enrolled) Enrol(device, key string, named bool, now time.Time) error {
	if err := e.May(device, key, named); err != nil {
		return err
	}
	if err := writeRecord(e.path(device), Member{Key: key, Since: now.UTC()}); err != nil {
		return fmt.Errorf("store: enrol %s: %w", device, err)
	}
	return nil
}

// May says whether Enrol would let the device in.
func (e Enrolled) May(device, key string, named bool) error {
	if err := CheckDevice(device); err != nil {
		return err
	}
	m, known, err := e.Member(device)
	switch {
	case err != nil:
		return err
	case !known || named:
		return nil
	case m.Revoked:
		return ErrRevoked
	case m.Key != key:
		return ErrNameTaken
	}
	return nil
}

// Member looks a device up.
func (e Enrolled) Member(device string) (m Member, known bool, err error) {
	if CheckDevice(device) != nil {
		return Member{}, false, nil
	}
	switch err := readRecord(e.path(device), &m); {
	case errors.Is(err, fs.ErrNotExist):
		return Member{}, false, nil
	case err != nil:
		return Member{}, false, fmt.Errorf("store: read device %s: %w", device, err)
	}
	return m, true, nil
}

// Is says whether who has the key may call as the device now.
func (e Enrolled) Is(device, key string) bool {
	m, known, err := e.Member(device)
	return err == nil && known && !m.Revoked && m.Key == key
}

// Revoke shuts a device out, whatever certificates it has.
func (e Enrolled) Revoke(device string) error {
	m, known, err := e.Member(device)
	switch {
	case err != nil:
		return err
	case !known:
		return ErrNotFound
	}
	m.Revoked = true
	if err := writeRecord(e.path(device), m); err != nil {
		return fmt.Errorf("store: revoke %s: %w", device, err)
	}
	if err := writeRecord(filepath.Join(e.dir, revokedMark), rand.Text()); err != nil {
		return fmt.Errorf("store: revoke %s: %w", device, err)
	}
	return nil
}

// Revocations tells whether any device was revoked since another call: then its
// answer is another one.
func (e Enrolled) Revocations() string {
	var mark string
	if err := readRecord(filepath.Join(e.dir, revokedMark), &mark); err != nil {
		return "" // none was, ever
	}
	return mark
}

// Devices lists the devices that may call, and those that were revoked, by name.
func (e Enrolled) Devices() ([]string, error) {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return nil, fmt.Errorf("store: list the devices: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if CheckDevice(entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func (e Enrolled) path(device string) string { return filepath.Join(e.dir, device) }
