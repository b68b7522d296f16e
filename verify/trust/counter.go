package trust

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Counter is a number in hardware that only goes up: a replay-protected block of
// eMMC, a counter of a TPM, fuses. It holds the securityEpoch below which the
// device never goes again, whatever happens to its disk. Fuses have few steps, so
// it never holds a releaseCounter.
type Counter interface {
	Read() (uint64, error)
	// Advance raises the counter to a value. A value that it has passed is no error,
	// and changes nothing.
	Advance(to uint64) error
}

var (
	_ Counter = None{}
	_ Counter = FileCounter("")
)

// None is the counter of a device that has none: the state on disk is all there is.
type None struct{}

// Read returns 0.
func (None) Read() (uint64, error) { return 0, nil }

// Advance does nothing.
func (None) Advance(uint64) error { return nil }

// FileCounter is a counter in a file, for devices without one in hardware: best on
// another partition than the state. Whoever can write it can take it back, so it
// shows damage and one-sided tampering, and prevents nothing.
type FileCounter string

const counterSize = 8 + 4

// Read returns 0 if there is no file yet.
func (f FileCounter) Read() (uint64, error) {
	raw, err := osDisk{filepath.Dir(string(f))}.Read(filepath.Base(string(f)))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the rollback counter: %w", err)
	}
	raw, err = hex.DecodeString(string(raw))
	if err != nil || len(raw) != counterSize || checksum(nil, raw[:8]) != binary.BigEndian.Uint32(raw[8:]) {
		return 0, fmt.Errorf("read the rollback counter: %s is damaged", string(f))
	}
	return binary.BigEndian.Uint64(raw), nil
}

// Advance replaces the file.
func (f FileCounter) Advance(to uint64) error {
	if now, err := f.Read(); err != nil || now >= to {
		return err
	}
	raw := binary.BigEndian.AppendUint64(nil, to)
	raw = binary.BigEndian.AppendUint32(raw, checksum(nil, raw))
	return replace(osDisk{filepath.Dir(string(f))}, filepath.Base(string(f)), []byte(hex.EncodeToString(raw)))
}
