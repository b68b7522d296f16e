package turn

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// passTime is for how long a pass lets a connection begin.
const passTime = 5 * time.Minute

// realm is what passes are for. Browsers repeat it and do not know it before.
const realm = "slipstream"

// Pass is what one browser shows.
type Pass struct{ Username, Password string }

// passes makes passes and knows them again, without a list of them.
type passes struct{ secret []byte }

func newPasses() passes {
	secret := make([]byte, sha256.Size)
	rand.Read(secret)
	return passes{secret}
}

// give makes a pass: its name is when it ends, and something that nobody had before.
func (p passes) give(now time.Time) Pass {
	name := strconv.FormatInt(now.Add(passTime).Unix(), 10) + "." + rand.Text()
	return Pass{name, p.password(name)}
}

func (p passes) password(name string) string {
	mac := hmac.New(sha256.New, p.secret)
	mac.Write([]byte(name))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

var nameForm = regexp.MustCompile(`^[0-9]{1,12}\.[A-Z2-7]{26}$`)

// good says whether a pass of that name may begin something now. That somebody has its
// password is another question.
func (p passes) good(name string, now time.Time) bool {
	if !nameForm.MatchString(name) {
		return false
	}
	end, _, _ := strings.Cut(name, ".")
	until, err := strconv.ParseInt(end, 10, 64)
	return err == nil && now.Unix() < until
}

// key is what messages of that name are signed by (RFC 8489 §9.2.2; the hash is the RFC's).
func (p passes) key(name string) []byte {
	sum := md5.Sum([]byte(name + ":" + realm + ":" + p.password(name)))
	return sum[:]
}
