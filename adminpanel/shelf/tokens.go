package shelf

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Tokens is the directory of enrolment tokens. Several processes may add to it at
// once; one panel uses them up.
type Tokens struct {
	dir string
	mu  sync.Mutex // one use at a time
}

// Token is what is kept of a token: enough to know it again, not to show it.
type Token struct {
	Hash    string    `json:"hash"`             // SHA-256 of the secret, in hex
	Device  string    `json:"device,omitempty"` // the one that it is for; "" for any
	Left    int       `json:"left"`             // devices that may still enrol
	Expires time.Time `json:"expires"`
	Used    []Use     `json:"used,omitempty"`
}

// Use is a device that has enrolled by a token. The same one with the same key may
// ask again: the answer may have been lost on the way.
type Use struct {
	Device string `json:"device"`
	Key    string `json:"key"` // SHA-256 of its public key, in hex
}

// Why a token is not taken.
var (
	ErrTokenUnknown = errors.New("the panel has made no such token")
	ErrTokenUsed    = errors.New("this token was used already: make another one")
	ErrTokenExpired = errors.New("this token has expired: make another one")
	ErrTokenDevice  = errors.New("this token is for another device")
)

// MaxBatch is how many devices one token may enrol: their uses must fit a record.
const MaxBatch = 256

// keptExpired is for how long an expired token is still known as such.
const keptExpired = 30 * 24 * time.Hour

var tokenForm = regexp.MustCompile(`^[A-Z2-7]{8,32}$`)

// OpenTokens opens the tokens in a panel's data directory, which a running
// panel may have open.
func OpenTokens(data string) (*Tokens, error) {
	dir := filepath.Join(data, "tokens")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: make the directory of tokens: %w", err)
	}
	return &Tokens{dir: dir}, nil
}

// Add keeps a token that was just made. device is "" for a batch.
func (t *Tokens) Add(id, secret, device string, count int, expires time.Time) error {
	switch {
	case !tokenForm.MatchString(id) || secret == "":
		return errors.New("store: this cannot be a token")
	case count < 1 || count > MaxBatch || device != "" && count > 1:
		return fmt.Errorf("a token is for 1 to %d devices, and for one if it names it", MaxBatch)
	case device != "" && CheckDevice(device) != nil:
		return CheckDevice(device)
	}
	t.sweep()
	if err := writeRecord(t.path(id), Token{Hash: hashed(secret), Device: device, Left: count, Expires: expires.UTC()}); err != nil {
		return fmt.Errorf("store: keep the token: %w", err)
	}
	return nil
}

// sweep drops tokens that nobody will ask about any more. One that it cannot read
// or remove stays.
func (t *Tokens) sweep() {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		var token Token
		path := filepath.Join(t.dir, e.Name())
		if tokenForm.MatchString(e.Name()) && readRecord(path, &token) == nil && time.Since(token.Expires) > keptExpired {
			os.Remove(path)
		}
	}
}

// Use uses a token up for a device, on disk before it returns, unless may refuses.
// named says that this use is one for which the token names this very device; the
// same use again is not. It takes as long for a wrong secret as for a right one.
func (t *Tokens) Use(id, secret string, u Use, now time.Time, may func(named bool) error) (named bool, err error) {
	if !tokenForm.MatchString(id) {
		return false, ErrTokenUnknown
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var token Token
	switch err := readRecord(t.path(id), &token); {
	case errors.Is(err, fs.ErrNotExist):
		return false, ErrTokenUnknown
	case err != nil:
		return false, fmt.Errorf("store: read a token: %w", err)
	}
	again := slices.Contains(token.Used, u)
	named = token.Device != "" && !again
	switch {
	case subtle.ConstantTimeCompare([]byte(hashed(secret)), []byte(token.Hash)) != 1:
		return false, ErrTokenUnknown
	case now.After(token.Expires):
		return false, ErrTokenExpired
	case token.Device != "" && token.Device != u.Device:
		return false, ErrTokenDevice
	case !again && token.Left < 1:
		return false, ErrTokenUsed
	}
	if err := may(named); err != nil || again {
		return named, err
	}
	token.Left--
	token.Used = append(token.Used, u)
	if err := writeRecord(t.path(id), token); err != nil {
		return false, fmt.Errorf("store: use a token up: %w", err)
	}
	return named, nil
}

func (t *Tokens) path(id string) string { return filepath.Join(t.dir, id) }

func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
