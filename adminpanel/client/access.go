package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"slipstream/adminpanel/view"
)

// Me is who the panel takes the caller for.
func (c *Client) Me(ctx context.Context) (m view.Me, err error) { return m, c.get(ctx, "me", nil, &m) }

// SignIn opens a session and returns a client that has it in place of a token: tokens are
// made by people. [Client.SignOut] ends it.
func (c *Client) SignIn(ctx context.Context, name, password string) (*Client, error) {
	body, err := json.Marshal(view.Login{Name: name, Password: password})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	in := &Client{base: c.base, http: c.http}
	resp, err := in.send(ctx, call{method: http.MethodPost, path: "sessions", raw: body, kind: "application/json"}, "")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	for _, cookie := range resp.Cookies() {
		if cookie.MaxAge >= 0 && cookie.Value != "" {
			in.cookie = &http.Cookie{Name: cookie.Name, Value: cookie.Value}
			return in, nil
		}
	}
	return nil, errors.New("the panel has opened no session: is it a panel of this version?")
}

// SignOut ends the session of a client that has signed in.
func (c *Client) SignOut(ctx context.Context) error { return c.delete(ctx, "sessions/current", 0) }

// Tokens are the API tokens that the caller may see.
func (c *Client) Tokens(ctx context.Context) (t view.Tokens, err error) {
	return t, c.get(ctx, "tokens", nil, &t)
}

// AddToken makes one. Its Text is shown this once.
func (c *Client) AddToken(ctx context.Context, req view.TokenRequest) (t view.Token, err error) {
	return t, c.post(ctx, "tokens", req, &t)
}

// RemoveToken ends one.
func (c *Client) RemoveToken(ctx context.Context, id string) error {
	return c.delete(ctx, path("tokens", id), 0)
}

// Accounts are all people.
func (c *Client) Accounts(ctx context.Context) (a view.Accounts, err error) {
	return a, c.get(ctx, "accounts", nil, &a)
}

// AddAccount makes an account with a password.
func (c *Client) AddAccount(ctx context.Context, req view.AccountRequest) (a view.Account, err error) {
	return a, c.post(ctx, "accounts", req, &a)
}

// PatchAccount changes an account, if its revision is still rev; 0: whatever it is.
func (c *Client) PatchAccount(ctx context.Context, name string, patch view.AccountPatch, rev int64) (a view.Account, err error) {
	return a, c.do(ctx, call{method: http.MethodPatch, path: path("accounts", name), body: patch, rev: seen(rev), out: &a})
}

// RemoveAccount deletes an account.
func (c *Client) RemoveAccount(ctx context.Context, name string) error {
	return c.delete(ctx, path("accounts", name), 0)
}

// Enrolments are the tokens that still let devices join.
func (c *Client) Enrolments(ctx context.Context) (e view.Enrolments, err error) {
	return e, c.get(ctx, "enrolments", nil, &e)
}

// AddEnrolment makes one. Its Text, and the Line to type on the device, are shown this once.
func (c *Client) AddEnrolment(ctx context.Context, req view.EnrolmentRequest) (e view.Enrolment, err error) {
	return e, c.post(ctx, "enrolments", req, &e)
}

// RemoveEnrolment ends one.
func (c *Client) RemoveEnrolment(ctx context.Context, id string) error {
	return c.delete(ctx, path("enrolments", id), 0)
}

// Audit are the lines about an object ("": about all), newest first.
func (c *Client) Audit(ctx context.Context, object string) iter.Seq2[view.AuditLine, error] {
	return pages(ctx, func(ctx context.Context, after string) ([]view.AuditLine, string, error) {
		var p view.Audit
		err := c.get(ctx, "audit", query("object", object, "after", after), &p)
		return p.Lines, p.After, err
	})
}

// ExportAudit writes all lines as they are chained, oldest first. It is bounded by ctx alone.
func (c *Client) ExportAudit(ctx context.Context, w io.Writer) error {
	return c.download(ctx, call{method: http.MethodGet, path: "audit/export", header: http.Header{"Accept": {"application/x-ndjson"}}}, w)
}

// backupWait is how long the panel may take to read its store.
const backupWait = 10 * time.Minute

// Backup writes all that the panel remembers at one moment, as package backup reads it, on
// request with the packages of releases. It is bounded by ctx alone once it has begun to come.
func (c *Client) Backup(ctx context.Context, w io.Writer, packages bool) error {
	ask := url.Values{}
	if packages {
		ask.Set("packages", "true")
	}
	return c.download(ctx, call{method: http.MethodGet, path: "backup", query: ask, header: http.Header{"Accept": {"application/x-ndjson"}}, wait: backupWait}, w)
}
