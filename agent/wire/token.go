package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"regexp"
	"strings"
)

// Token lets one device enrol once, or several if its panel made it so:
//
//	slipstream_ID_SECRET_PIN     a panel with authorities of its own
//	slipstream_ID_SECRET         a panel that the system's authorities vouch for
type Token struct {
	ID     string // under which the panel keeps the secret's hash
	Secret string // ≥ 128 bits
	// Pin names the panel's own authority, so that the device needs no other file to
	// know whom it tells the secret: see [Pin].
	Pin string
}

const (
	tokenWord = "slipstream"
	// MaxToken bounds the text of a token in bytes.
	MaxToken = 256
	// pinBytes of the hash: 160 bits.
	pinBytes = 20
)

var (
	tokenID     = regexp.MustCompile(`^[A-Z2-7]{8,32}$`)
	tokenSecret = regexp.MustCompile(`^[A-Z2-7]{26,64}$`) // ≥ 130 bits
	tokenPin    = regexp.MustCompile(`^[A-Z2-7]{32}$`)
)

// errToken says nothing of the text: it may be most of a secret.
var errToken = errors.New("this is not an enrolment token: copy all of slipstream_…, as the panel printed it")

// NewToken makes a token with a secret of its own.
func NewToken(pin string) Token { return Token{ID: rand.Text()[:16], Secret: rand.Text(), Pin: pin} }

// ParseToken reads a token. White space around it is none of it.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	parts := strings.Split(text, "_")
	if len(text) > MaxToken || len(parts) < 3 || len(parts) > 4 || parts[0] != tokenWord {
		return Token{}, errToken
	}
	t := Token{ID: parts[1], Secret: parts[2]}
	if len(parts) == 4 {
		t.Pin = parts[3]
	}
	if !tokenID.MatchString(t.ID) || !tokenSecret.MatchString(t.Secret) || len(parts) == 4 && !tokenPin.MatchString(t.Pin) {
		return Token{}, errToken
	}
	return t, nil
}

func (t Token) String() string {
	text := tokenWord + "_" + t.ID + "_" + t.Secret
	if t.Pin != "" {
		text += "_" + t.Pin
	}
	return text
}

// Pin names an authority by its key: base32 of the first 160 bits of SHA-256 over
// its SubjectPublicKeyInfo.
func Pin(authority *x509.Certificate) string {
	sum := sha256.Sum256(authority.RawSubjectPublicKeyInfo)
	return base32.StdEncoding.EncodeToString(sum[:pinBytes])
}

// Pins says whether the token names this authority.
func (t Token) Pins(authority *x509.Certificate) bool {
	return subtle.ConstantTimeCompare([]byte(t.Pin), []byte(Pin(authority))) == 1
}
