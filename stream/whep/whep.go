// Package whep asks a gateway on this machine for sessions of WebRTC (RFC 9725), on
// behalf of viewers elsewhere.
//
// It takes nothing on trust: names become parts of paths only if they are names, and
// answers are bounded.
package whep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

const (
	// MaxSDP bounds an offer and an answer in bytes.
	MaxSDP = 64 << 10
	// patience bounds a gateway's answer.
	patience = 10 * time.Second
)

// Client asks one gateway.
type Client struct {
	base   string
	secret string
	client *http.Client
}

// New asks the gateway that listens at addr, such as "127.0.0.1:8889", and shows it
// the secret.
func New(addr, secret string) *Client {
	return &Client{"http://" + addr + "/whep/", secret, &http.Client{Timeout: patience}}
}

var (
	streamForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	// sessionForm is STREAM/ID: what follows /whep/ in the gateway's Location.
	sessionForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,128}$`)
)

// WHEP takes an SDP offer for a stream, and gives the answer and a name by which the
// session can be ended.
func (g *Client) WHEP(ctx context.Context, stream string, offer []byte) ([]byte, string, error) {
	if !streamForm.MatchString(stream) {
		return nil, "", fmt.Errorf("%q cannot be the name of a stream", stream)
	}
	req, err := g.request(ctx, http.MethodPost, stream, bytes.NewReader(offer))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("ask the gateway: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxSDP+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("read the gateway's answer: %w", err)
	case resp.StatusCode != http.StatusCreated:
		return nil, "", fmt.Errorf("the gateway answered %s", resp.Status)
	case len(answer) > MaxSDP:
		return nil, "", errors.New("the gateway's answer is too long")
	}
	_, session, _ := strings.Cut(resp.Header.Get("Location"), "/whep/")
	if !sessionForm.MatchString(session) {
		return nil, "", fmt.Errorf("the gateway named the session %q", resp.Header.Get("Location"))
	}
	return answer, session, nil
}

func (g *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, g.base+path, body)
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+g.secret)
	}
	return req, err
}

// EndWHEP ends a session; one that has gone already is fine. One that cannot be ended
// ends by itself when the gateway misses the viewer.
func (g *Client) EndWHEP(session string) {
	if !sessionForm.MatchString(session) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := g.request(ctx, http.MethodDelete, session, nil)
	if err != nil {
		return
	}
	if resp, err := g.client.Do(req); err == nil {
		resp.Body.Close()
	}
}
