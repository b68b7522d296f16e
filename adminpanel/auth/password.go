package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Passwords are judged by their length alone, in characters.
const (
	minPassword = 12
	maxPassword = 200
)

const (
	hashAtOnce = 4  // of 64 MiB each
	hashQueue  = 64 // that wait for it
	hashWait   = 10 * time.Second

	saltBytes = 16
	keyBytes  = 32
)

// Effort is what it costs to try a password. It is written into each hash, and a login
// with a good password writes the hash anew when the effort has changed since.
type Effort struct {
	Rounds    uint32
	MemoryKiB uint32
	Threads   uint8
}

// DefaultEffort takes some 66 ms of one core of a small server.
var DefaultEffort = Effort{Rounds: 1, MemoryKiB: 64 << 10, Threads: 2}

// Bounds of what is believed of a stored hash.
const (
	maxRounds    = 16
	maxMemoryKiB = 1 << 20
	maxThreads   = 16
)

// hasher hashes passwords, a few at a time.
type hasher struct {
	effort Effort
	turns  chan struct{} // one for each that hashes
	queue  chan struct{} // one for each that hashes or waits
	decoy  string        // hash that no password has
}

func newHasher(effort Effort) *hasher {
	h := &hasher{effort: effort, turns: make(chan struct{}, hashAtOnce), queue: make(chan struct{}, hashAtOnce+hashQueue)}
	h.decoy = encode(effort, random(saltBytes), random(keyBytes))
	return h
}

// turn waits for the right to hash and returns how to give it back.
func (h *hasher) turn(ctx context.Context) (done func(), err error) {
	select {
	case h.queue <- struct{}{}:
	default:
		return nil, limited(hashWait)
	}
	late := time.NewTimer(hashWait)
	defer late.Stop()
	select {
	case h.turns <- struct{}{}:
		return func() { <-h.turns; <-h.queue }, nil
	case <-late.C:
		err = limited(hashWait)
	case <-ctx.Done():
		err = ctx.Err()
	}
	<-h.queue
	return nil, err
}

// hash makes what is stored of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	done, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	salt := random(saltBytes)
	return encode(h.effort, salt, derive(h.effort, password, salt, keyBytes)), nil
}

// matches tells whether a password is the one of a hash. An empty hash is a password that
// nobody has: it costs the same and is wrong.
func (h *hasher) matches(ctx context.Context, password, hash string) (bool, error) {
	if hash == "" {
		hash = h.decoy
	}
	effort, salt, key, err := decode(hash)
	if err != nil {
		return false, err
	}
	done, err := h.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	got := derive(effort, password, salt, uint32(len(key)))
	return subtle.ConstantTimeCompare(got, key) == 1, nil
}

// old tells whether a hash has another effort than passwords have now.
func (h *hasher) old(hash string) bool {
	effort, _, _, err := decode(hash)
	return err != nil || effort != h.effort
}

func derive(e Effort, password string, salt []byte, size uint32) []byte {
	return argon2.IDKey([]byte(password), salt, e.Rounds, e.MemoryKiB, e.Threads, size)
}

// encode writes a hash in the form of the reference implementation.
func encode(e Effort, salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, e.MemoryKiB, e.Rounds, e.Threads,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

var errHash = errors.New("a stored password hash is damaged: set another password for the account")

func decode(hash string) (e Effort, salt, key []byte, err error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return e, nil, nil, errHash
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &e.MemoryKiB, &e.Rounds, &e.Threads); err != nil || n != 3 {
		return e, nil, nil, errHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	key, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if errors.Join(err1, err2) != nil || !e.sane() || len(salt) < 8 || len(salt) > 64 || len(key) < 16 || len(key) > 64 {
		return e, nil, nil, errHash
	}
	return e, salt, key, nil
}

// sane keeps a damaged or foreign hash from costing the panel its memory.
func (e Effort) sane() bool {
	return 1 <= e.Rounds && e.Rounds <= maxRounds && 1 <= e.Threads && e.Threads <= maxThreads &&
		8*uint32(e.Threads) <= e.MemoryKiB && e.MemoryKiB <= maxMemoryKiB
}

// checkPassword refuses what cannot become a password.
func checkPassword(password string) error {
	n := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return invalid("password", "the password is not text in UTF-8")
	case n < minPassword:
		return invalid("password", "the password has %d characters: take at least %d, for example four words", n, minPassword)
	case n > maxPassword:
		return invalid("password", "the password has %d characters, %d at most", n, maxPassword)
	}
	return nil
}

// random bytes; the runtime ends the program if there are none to be had.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
