package gateway

import (
	"crypto/rand"
	"net/netip"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
)

const (
	realm = "slipstream"

	// nonceTime is how long a nonce is good. It is good on one connection only.
	nonceTime = 20 * time.Second
)

// asker makes sure of one connection's viewer.
type asker struct {
	guard  *guard
	from   netip.Addr
	secure bool // nobody can overhear it: basic credentials are taken as well

	nonce string
	made  time.Time
	name  string // of the viewer, once it is known
}

// check returns the refusal of a request whose sender may not watch, or nil.
func (a *asker) check(r *base.Request, now time.Time) *base.Response {
	if a.guard.public {
		return nil
	}
	if a.guard.locked(a.from, now) {
		return &base.Response{StatusCode: base.StatusForbidden, StatusMessage: "Wrong Credentials Too Often", Header: base.Header{}}
	}
	var shown headers.Authorization
	if shown.Unmarshal(r.Header["Authorization"]) != nil || shown.Method == headers.AuthMethodBasic && !a.secure {
		return a.challenge(now, false)
	}
	if !a.right(r, shown) {
		a.guard.miss(a.from, now)
		return a.challenge(now, false)
	}
	if shown.Method == headers.AuthMethodDigest && (shown.Nonce != a.nonce || now.Sub(a.made) > nonceTime) {
		return a.challenge(now, true)
	}
	a.name = shown.Username
	return nil
}

// right tells whether the sender knows the secret. The nonce may be any.
func (a *asker) right(r *base.Request, shown headers.Authorization) bool {
	if shown.Method == headers.AuthMethodBasic {
		name, ok := a.guard.Allow(shown.BasicPass)
		return ok && name == shown.Username
	}
	return auth.Verify(r, shown.Username, a.guard.secret(shown.Username), digests, realm, shown.Nonce) == nil
}

// The better digest comes first (RFC 7616 §3.7); ffmpeg and GStreamer know the
// last one only, and take that.
var digests = []auth.VerifyMethod{auth.VerifyMethodDigestSHA256, auth.VerifyMethodDigestMD5}

// challenge asks for credentials with a nonce of its own; stale says that those
// shown were right, so that nobody is asked for a password again.
func (a *asker) challenge(now time.Time, stale bool) *base.Response {
	a.nonce, a.made = rand.Text(), now
	v := auth.GenerateWWWAuthenticate(digests, realm, a.nonce)
	if stale {
		for i := range v {
			v[i] += `, stale="true"`
		}
	}
	if a.secure {
		v = append(v, headers.Authenticate{Method: headers.AuthMethodBasic, Realm: realm}.Marshal()...)
	}
	return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{"WWW-Authenticate": v}}
}
