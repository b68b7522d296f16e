package store

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Tokens is the directory of the devices' tokens. It may be used by several
// processes at once.
type Tokens struct{ dir string }

// ErrEnrolled is returned by Make for a device that has a token already.
var ErrEnrolled = errors.New("the device has a token already")

// secretSize is how many random bytes make a token.
const secretSize = 32

// OpenTokens opens the tokens in a panel's data directory, which a running
// panel may have open.
func OpenTokens(data string) (Tokens, error) {
	dir := filepath.Join(data, "tokens")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Tokens{}, fmt.Errorf("store: make the directory of tokens: %w", err)
	}
	return Tokens{dir}, nil
}

// Make makes a device's token, "DEVICE~SECRET". It cannot be shown again. With
// replace an earlier token stops working.
func (t Tokens) Make(device string, replace bool) (string, error) {
	if err := CheckDevice(device); err != nil {
		return "", err
	}
	var secret [secretSize]byte
	rand.Read(secret[:])
	token := device + "~" + base64.RawURLEncoding.EncodeToString(secret[:])
	if err := t.write(device, hashed(token), replace); err != nil {
		return "", err
	}
	return token, nil
}

// write is whole or not at all: a device may connect at this moment.
func (t Tokens) write(device, text string, replace bool) error {
	f, err := os.CreateTemp(t.dir, ".new-")
	if err != nil {
		return fmt.Errorf("store: keep the token: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("store: keep the token: %w", err)
	}
	place := os.Link // fails if there is one
	if replace {
		place = os.Rename
	}
	err = place(f.Name(), filepath.Join(t.dir, device))
	if errors.Is(err, fs.ErrExist) {
		return ErrEnrolled
	}
	if err != nil {
		return fmt.Errorf("store: keep the token: %w", err)
	}
	return nil
}

// Identify names the device that a token was made for. It takes as long for a
// wrong secret as for a right one.
func (t Tokens) Identify(token string) (string, bool) {
	device, _, found := strings.Cut(token, "~")
	if !found || CheckDevice(device) != nil {
		return "", false
	}
	text, err := os.ReadFile(filepath.Join(t.dir, device))
	if err != nil {
		return "", false
	}
	if subtle.ConstantTimeCompare([]byte(hashed(token)), []byte(strings.TrimSpace(string(text)))) != 1 {
		return "", false
	}
	return device, true
}

// Devices lists the devices that have a token, by name.
func (t Tokens) Devices() ([]string, error) {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return nil, fmt.Errorf("store: list the tokens: %w", err)
	}
	var names []string
	for _, e := range entries {
		if CheckDevice(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
