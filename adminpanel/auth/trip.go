package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"slipstream/adminpanel/store"
)

const (
	tripKey   = "set/trip-key" // shared by all panels
	tripLasts = 10 * time.Minute
	maxTrip   = 2000
	maxNext   = 500
)

// trip is what a browser carries to the identity provider and back.
type trip struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Next     string    `json:"next"`
	Until    time.Time `json:"until"`
}

func (a *Auth) tripCookie() string { return a.cookieName() + "-trip" }

// secret is the key that signs trips; the first panel that needs one makes it.
func (a *Auth) secret(ctx context.Context) (key []byte, err error) {
	err = again(ctx, func() error {
		item, err := a.store.Get(ctx, tripKey)
		if err == nil {
			key = item.Value
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		key = random(sha256.Size)
		_, err = a.store.Commit(ctx, []store.Cond{{Key: tripKey}}, []store.Op{{Key: tripKey, Value: key}})
		return err
	})
	return key, err
}

func sign(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("trip " + text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (a *Auth) seal(ctx context.Context, t trip) (string, error) {
	key, err := a.secret(ctx)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(set("", t).Value)
	return text + "." + sign(key, text), nil
}

// unseal returns the trip that a request comes back from, if it is the one of that state.
func (a *Auth) unseal(ctx context.Context, r *http.Request, state string) (t trip, err error) {
	lost := reasoned("login-lost", ErrWrong, "this login was not begun in this browser, or too long ago: begin again with the button for signing in")
	cookies := r.CookiesNamed(a.tripCookie())
	if len(cookies) != 1 || len(cookies[0].Value) > maxTrip {
		return t, lost
	}
	key, err := a.secret(ctx)
	if err != nil {
		return t, err
	}
	text, mac, _ := strings.Cut(cookies[0].Value, ".")
	if !hmac.Equal([]byte(mac), []byte(sign(key, text))) {
		return t, lost
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(raw, &t) != nil {
		return t, lost
	}
	if !a.now().Before(t.Until) || subtle.ConstantTimeCompare([]byte(t.State), []byte(state)) != 1 {
		return trip{}, lost
	}
	return t, nil
}

// localPath is a path of the panel, or its first page: a login must not lead elsewhere.
func localPath(next string) string {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

// shut takes everything from an account whose groups give it nothing any more.
func (o *OIDC) shut(ctx context.Context, u account, rev int64, from string) error {
	refusal := reasoned("no-group", ErrForbidden, "%s is in no group that may use the panel: ask who runs the identity provider", u.Name)
	if rev == 0 {
		return refusal
	}
	u.Era = rand.Text()
	c := Caller{Kind: KindUser, Name: u.Name, From: from}
	_, err := o.auth.ledger.Commit(ctx, []store.Cond{{Key: u.key(), Rev: rev}}, []store.Op{set(u.key(), u)},
		c.line("account.change", "account "+u.Name, nil, u.view(0)))
	if err != nil {
		return err
	}
	return refusal
}
