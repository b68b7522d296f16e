package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"slipstream/adminpanel/view"
)

const (
	oidcTimeout = 10 * time.Second // for all that one request of ours asks of the provider
	oidcAnswer  = 1 << 20          // bytes of an answer
	maxGroups   = 1000
)

// OIDCConfig is the identity provider that people may sign in at.
type OIDCConfig struct {
	Issuer   string // URL, as the provider writes it itself
	Client   string // id that the provider gave the panel
	Secret   string
	Redirect string   // URL of the panel's GET /api/v1/oidc/callback
	Scopes   []string // besides openid; none: profile, email and groups
	// NameClaim is the account's name ("" is preferred_username), GroupsClaim the list of
	// groups ("" is groups). Each group gives its grants; who has none is not let in.
	NameClaim   string
	GroupsClaim string
	Groups      map[string][]view.Grant
	Transport   http.RoundTripper // nil: the usual one
}

// OIDC signs people in at an identity provider: by the code flow, with PKCE, and with a
// state and a nonce that are good for one browser and some minutes. Who comes the first
// time gets an account. Its grants are those of the groups at the last login.
type OIDC struct {
	auth   *Auth
	cfg    OIDCConfig
	groups map[string][]view.Grant
	client *http.Client

	turn     chan struct{}  // for who asks it first; holds the right to provider
	provider *oidc.Provider // once it has answered
}

// NewOIDC checks the configuration. The provider is asked when somebody signs in, so that
// the panel starts without it.
func NewOIDC(a *Auth, cfg OIDCConfig) (*OIDC, error) {
	if err := errors.Join(checkURL("issuer", cfg.Issuer), checkURL("redirect", cfg.Redirect)); err != nil {
		return nil, err
	}
	if cfg.Client == "" || len(cfg.Groups) == 0 {
		return nil, errors.New("signing in at an identity provider takes the panel's client id there, and grants for at least one group")
	}
	groups := make(map[string][]view.Grant, len(cfg.Groups))
	for group, grants := range cfg.Groups {
		tidy, err := checkGrants(grants)
		if err != nil {
			return nil, fmt.Errorf("grants of the group %q: %w", group, err)
		}
		groups[group] = tidy
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{"profile", "email", "groups"}
	}
	if cfg.NameClaim == "" {
		cfg.NameClaim = "preferred_username"
	}
	if cfg.GroupsClaim == "" {
		cfg.GroupsClaim = "groups"
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	client := &http.Client{Transport: shortAnswers{cfg.Transport}, Timeout: oidcTimeout}
	return &OIDC{auth: a, cfg: cfg, groups: groups, client: client, turn: make(chan struct{}, 1)}, nil
}

// checkURL wants TLS for all that is not on this machine.
func checkURL(what, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return fmt.Errorf("the identity provider's %s %q is no URL", what, text)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("the identity provider's %s %q must begin with https://", what, text)
	}
	return nil
}

// shortAnswers refuses answers that are longer than any good one.
type shortAnswers struct{ http.RoundTripper }

func (t shortAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, oidcAnswer)
	}
	return resp, err
}

// ready asks the provider who it is, if that is not known yet.
func (o *OIDC) ready(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return nil, nil, ErrProvider
	}
	if o.provider == nil {
		p, err := oidc.NewProvider(ctx, o.cfg.Issuer)
		if err != nil {
			o.auth.log.Error("the identity provider does not answer", "issuer", o.cfg.Issuer, "err", err)
			return nil, nil, ErrProvider
		}
		o.provider = p
	}
	return o.provider, &oauth2.Config{ClientID: o.cfg.Client, ClientSecret: o.cfg.Secret, RedirectURL: o.cfg.Redirect,
		Endpoint: o.provider.Endpoint(), Scopes: append([]string{oidc.ScopeOpenID}, o.cfg.Scopes...)}, nil
}

func (o *OIDC) context(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), oidcTimeout)
	return oidc.ClientContext(ctx, o.client), cancel
}

// Begin is where to send the browser, with a cookie that it has to bring back. After the
// login it is sent to next, which is a path of the panel.
func (o *OIDC) Begin(r *http.Request, next string) (to string, cookie *http.Cookie, err error) {
	if err := o.auth.addresses.take(network(o.auth.From(r)), o.auth.now()); err != nil {
		return "", nil, err
	}
	ctx, cancel := o.context(r)
	defer cancel()
	_, oauth, err := o.ready(ctx)
	if err != nil {
		return "", nil, err
	}
	trip := trip{State: newSecret(), Nonce: newSecret(), Verifier: oauth2.GenerateVerifier(), Next: localPath(next),
		Until: o.auth.now().Add(tripLasts)}
	value, err := o.auth.seal(ctx, trip)
	if err != nil {
		return "", nil, err
	}
	to = oauth.AuthCodeURL(trip.State, oidc.Nonce(trip.Nonce), oauth2.S256ChallengeOption(trip.Verifier))
	return to, o.auth.newCookie(o.auth.tripCookie(), value, tripLasts), nil
}

// Finish is for the request that the browser comes back with. NoTrip belongs into the
// answer whatever comes of it.
func (o *OIDC) Finish(r *http.Request) (s Session, next string, err error) {
	if err := o.auth.addresses.take(network(o.auth.From(r)), o.auth.now()); err != nil {
		return s, "", err
	}
	ctx, cancel := o.context(r)
	defer cancel()
	q := r.URL.Query()
	trip, err := o.auth.unseal(ctx, r, q.Get("state"))
	if err != nil {
		return s, "", err
	}
	var who identity
	switch iss := q.Get("iss"); {
	case iss != "" && iss != o.cfg.Issuer:
		err = ErrProvider
	case q.Get("code") == "":
		err = reasoned("not-vouched", ErrWrong, "the identity provider did not sign you in: try again, or ask who runs it")
	default:
		who, err = o.who(ctx, q.Get("code"), trip)
	}
	if err == nil {
		s, err = o.enter(r, who)
	}
	return s, trip.Next, errors.Join(err, o.tell(r, who, err))
}

// tell has the audit tell of a login that was begun here and is refused. What was not begun
// here is anybody's guess, and nothing that the audit could be filled with. The panel is the
// one who says so: the account of that name may be somebody else's.
func (o *OIDC) tell(r *http.Request, who identity, err error) error {
	refusal, ok := errors.AsType[*Error](err)
	if !ok {
		return nil
	}
	line := view.AuditLine{Actor: "panel", From: o.auth.From(r), Action: "session.refuse", Object: "sign-in", Detail: refusal.Detail}
	if who.name != "" {
		line.Object = "account " + who.name
	}
	_, err = o.auth.ledger.Commit(r.Context(), nil, nil, line)
	return err
}

// NoTrip makes the browser forget that it was sent away.
func (o *OIDC) NoTrip() *http.Cookie {
	c := o.auth.newCookie(o.auth.tripCookie(), "", 0)
	c.MaxAge = -1
	return c
}

// identity is who the provider says that somebody is.
type identity struct {
	subject, name string
	grants        []view.Grant
}

// who gives the code back to the provider, and checks what that says of it.
func (o *OIDC) who(ctx context.Context, code string, trip trip) (identity, error) {
	provider, oauth, err := o.ready(ctx)
	if err != nil {
		return identity{}, err
	}
	tokens, err := oauth.Exchange(ctx, code, oauth2.VerifierOption(trip.Verifier))
	if err != nil {
		return identity{}, o.refused("the code is not taken", err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: o.cfg.Client, Now: o.auth.now}).Verify(ctx, raw)
	if err != nil {
		return identity{}, o.refused("the id token does not hold", err)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return identity{}, o.refused("the id token cannot be read", err)
	}
	party, _ := claims["azp"].(string)
	switch {
	case id.Nonce != trip.Nonce:
		return identity{}, o.refused("the id token is of another login", nil)
	case id.Subject == "" || party != "" && party != o.cfg.Client || party == "" && len(id.Audience) > 1:
		return identity{}, o.refused("the id token is for somebody else", nil)
	}
	if err := o.more(ctx, provider, tokens, id.Subject, claims); err != nil {
		return identity{}, err
	}
	return o.identify(id.Subject, claims)
}

// more asks for claims that the id token leaves out, as short ones do.
func (o *OIDC) more(ctx context.Context, provider *oidc.Provider, tokens *oauth2.Token, subject string, claims map[string]any) error {
	if claims[o.cfg.NameClaim] != nil && claims[o.cfg.GroupsClaim] != nil || provider.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return o.refused("its word on the person cannot be had", err)
	}
	said := map[string]any{}
	if err := info.Claims(&said); err != nil || info.Subject != subject {
		return o.refused("its word is on somebody else", err)
	}
	for name, value := range said {
		if claims[name] == nil {
			claims[name] = value
		}
	}
	return nil
}

func (o *OIDC) refused(why string, err error) error {
	o.auth.log.Warn("a login by the identity provider is refused", "why", why, "err", err)
	return reasoned("not-vouched", ErrWrong, "the identity provider's answer cannot be used: begin again with the button for signing in")
}

// identify reads name and groups out of the claims.
func (o *OIDC) identify(subject string, claims map[string]any) (identity, error) {
	name, _ := claims[o.cfg.NameClaim].(string)
	name = strings.ToLower(name)
	verified, _ := claims["email_verified"].(bool)
	switch {
	case !accountName.MatchString(name):
		return identity{}, o.refused("the name cannot be an account's", nil)
	case o.cfg.NameClaim == "email" && !verified:
		return identity{}, o.refused("the mail address is not verified", nil)
	}
	who := identity{subject: subject, name: name}
	for _, group := range texts(claims[o.cfg.GroupsClaim]) {
		for _, g := range o.groups[group] {
			if !slices.Contains(who.grants, g) && len(who.grants) < maxGrants {
				who.grants = append(who.grants, g)
			}
		}
	}
	return who, nil
}

// texts are the texts of a claim that is one or a list of them.
func texts(claim any) (list []string) {
	switch claim := claim.(type) {
	case string:
		return []string{claim}
	case []any:
		for _, v := range claim[:min(len(claim), maxGroups)] {
			if text, ok := v.(string); ok {
				list = append(list, text)
			}
		}
	}
	return list
}

// enter opens a session for an identity, with the grants that it has now.
func (o *OIDC) enter(r *http.Request, who identity) (s Session, err error) {
	a, ctx := o.auth, r.Context()
	err = again(ctx, func() error {
		u, rev, err := a.account(ctx, who.name)
		switch {
		case err != nil:
			return err
		case rev == 0:
			u = a.newAccount(who.name, nil)
			u.Issuer, u.Subject = o.cfg.Issuer, who.subject
		case u.Issuer != o.cfg.Issuer || u.Subject != who.subject:
			return reasoned("name-taken", ErrTaken, "the panel knows somebody else as %s: ask an administrator to delete that account if it is yours", who.name)
		case u.Disabled:
			return reasoned("disabled", ErrWrong, "%s", ErrWrong.Detail)
		}
		var after any
		if rev == 0 || !slices.Equal(u.Grants, who.grants) {
			u.Grants = who.grants
			after = u.view(0)
		}
		if len(who.grants) == 0 {
			return o.shut(ctx, u, rev, a.From(r))
		}
		u.Login = a.now().UTC()
		s, err = a.begin(r, u, rev, "session.open", after)
		return err
	})
	return s, err
}
