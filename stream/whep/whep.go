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
	sessionForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,128}$`)
	tagForm      = regexp.MustCompile(`^"[!#-~]{1,128}"$`)
	sentenceForm = regexp.MustCompile(`^[ -~]{1,300}$`)
)

// Refusal is a gateway's answer that grants nothing: a status of HTTP, and one sentence.
type Refusal struct {
	Status   int
	Sentence string
}

// Error implements [error].
func (r *Refusal) Error() string { return r.Sentence }

// WHEP takes an SDP offer for a stream, and gives the answer, a name by which the
// session can be ended, and the entity tag of its ICE session.
func (g *Client) WHEP(ctx context.Context, stream string, offer []byte) (answer []byte, session, tag string, err error) {
	if !streamForm.MatchString(stream) {
		return nil, "", "", fmt.Errorf("%q cannot be the name of a stream", stream)
	}
	req, err := g.request(ctx, http.MethodPost, stream, bytes.NewReader(offer))
	if err != nil {
		return nil, "", "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	said, answer, err := g.do(req)
	switch {
	case err != nil:
		return nil, "", "", err
	case said.status != http.StatusCreated:
		return nil, "", "", said.refusal(answer)
	}
	_, session, _ = strings.Cut(said.header.Get("Location"), "/whep/")
	if !sessionForm.MatchString(session) {
		return nil, "", "", fmt.Errorf("the gateway named the session %q", said.header.Get("Location"))
	}
	return answer, session, said.tag(), nil
}

// TellWHEP passes on what a viewer says of a session's ICE: more candidates, or that it
// begins another one. It gives the gateway's status, and with 200 the entity tag and the
// fragment of the other one; else the body says why it is refused.
func (g *Client) TellWHEP(ctx context.Context, session, match string, fragment []byte) (status int, tag string, body []byte, err error) {
	if !sessionForm.MatchString(session) {
		return 0, "", nil, fmt.Errorf("%q cannot be the name of a session", session)
	}
	req, err := g.request(ctx, http.MethodPatch, session, bytes.NewReader(fragment))
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("Content-Type", "application/trickle-ice-sdpfrag")
	if match != "" {
		req.Header.Set("If-Match", match)
	}
	said, body, err := g.do(req)
	switch {
	case err != nil:
		return 0, "", nil, err
	case said.status == http.StatusOK:
		return http.StatusOK, said.tag(), body, nil
	case said.status == http.StatusNoContent:
		return http.StatusNoContent, "", nil, nil
	}
	return said.status, "", []byte(said.refusal(body).Sentence), nil
}

// head is an answer but for its body.
type head struct {
	status int
	header http.Header
}

// do asks, and reads what is answered.
func (g *Client) do(req *http.Request) (said head, body []byte, err error) {
	resp, err := g.client.Do(req)
	if err != nil {
		return said, nil, fmt.Errorf("ask the gateway: %w", err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, MaxSDP+1))
	if err != nil {
		return said, nil, fmt.Errorf("read the gateway's answer: %w", err)
	}
	if len(body) > MaxSDP {
		return said, nil, errors.New("the gateway's answer is too long")
	}
	return head{resp.StatusCode, resp.Header}, body, nil
}

// refusal reads why the gateway refuses.
func (h head) refusal(body []byte) *Refusal {
	text := strings.TrimSpace(string(body))
	if !sentenceForm.MatchString(text) {
		text = fmt.Sprintf("the gateway answered %d %s", h.status, http.StatusText(h.status))
	}
	return &Refusal{h.status, text}
}

// tag is the entity tag of an answer; "": it has none.
func (h head) tag() string {
	if tag := h.header.Get("ETag"); tagForm.MatchString(tag) {
		return tag
	}
	return ""
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
