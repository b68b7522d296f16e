package link

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"slipstream/agent/wire"
)

// enrollTimeout is for all of one request.
const enrollTimeout = 30 * time.Second

// Prepare asks a panel for a certificate by a token, keeps the answer aside and
// returns it: [Identity.Commit] puts it in force. The key is that of the enrolment in
// force, or of an earlier try, else a new one.
func (i *Identity) Prepare(ctx context.Context, panel string, token wire.Token) (wire.Enrollment, error) {
	base, err := panelURL(panel)
	if err != nil {
		return wire.Enrollment{}, err
	}
	key, err := i.begin(panel)
	if err != nil {
		return wire.Enrollment{}, err
	}
	private, err := parseKey(key)
	if err != nil {
		return wire.Enrollment{}, err
	}
	csr, err := request(private)
	if err != nil {
		return wire.Enrollment{}, err
	}
	line := transport(config(base.Hostname(), pinned(token)))
	defer line.CloseIdleConnections()
	e, err := post(ctx, line, base.JoinPath(wire.EnrollPath), wire.EnrollRequest{Token: token.String(), Device: i.device, CSR: csr})
	if err != nil {
		return wire.Enrollment{}, err
	}
	d := document{Panel: panel, Key: key, Enrollment: e}
	if _, err := hold(d, i.device); err != nil {
		return wire.Enrollment{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return e, i.prepare(d)
}

// begin writes the key down before anybody is told of it: an answer that is lost can
// be asked for again.
func (i *Identity) begin(panel string) (key []byte, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.held != nil:
		key = i.held.Key
	case i.pending != nil:
		key = i.pending.Key
	default:
		if key, err = newKey(); err != nil {
			return nil, err
		}
	}
	return key, i.prepare(document{Panel: panel, Key: key})
}

// Abandon forgets what Prepare has brought.
func (i *Identity) Abandon() error { return i.drop() }

// renew gets another certificate over the same key, and puts it in force.
func (i *Identity) renew(ctx context.Context, h *held) error {
	private, err := parseKey(h.Key)
	if err != nil {
		return err
	}
	csr, err := request(private)
	if err != nil {
		return err
	}
	e, err := post(ctx, i, h.base.JoinPath(wire.RenewPath), wire.RenewRequest{CSR: csr})
	if err != nil {
		return err
	}
	return i.amend(h, func(d *document) { d.Certificate = e.Certificate })
}

func post(ctx context.Context, line http.RoundTripper, to *url.URL, ask any) (wire.Enrollment, error) {
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	body, err := json.Marshal(ask)
	if err != nil {
		return wire.Enrollment{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return wire.Enrollment{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := line.RoundTrip(req)
	if err != nil {
		return wire.Enrollment{}, fmt.Errorf("ask the panel: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxEnrollment+1))
	if err != nil {
		return wire.Enrollment{}, fmt.Errorf("read the panel's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return wire.Enrollment{}, refusal(resp, text)
	}
	return wire.ParseEnrollment(text)
}

// refusal is what the panel says, or what its answer says of it.
func refusal(resp *http.Response, text []byte) error {
	var p wire.Problem
	if json.Unmarshal(text, &p) == nil && p.Code != "" && p.Detail != "" && len(p.Detail) < 1<<10 {
		return &p
	}
	return fmt.Errorf("the panel answers %s", resp.Status)
}

// IsRefusal says whether the panel has refused, with a code that is stable.
func IsRefusal(err error) (code string, yes bool) {
	p, ok := errors.AsType[*wire.Problem](err)
	if !ok {
		return "", false
	}
	return p.Code, true
}
