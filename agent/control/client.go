package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Limits of the client.
const (
	MaxAnswer   = 16 << 20 // bytes of one answer
	dialTimeout = 5 * time.Second
	askTimeout  = 30 * time.Second // for what the agent answers from memory
)

// Client asks an agent over its socket.
type Client struct {
	socket string
	http   *http.Client
}

var _ Backend = (*Client)(nil)

// Dial makes a client. It connects when something is asked, and again for each
// question if it must, so a client outlives restarts of the agent.
func Dial(socket string) *Client {
	d := net.Dialer{Timeout: dialTimeout}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
		MaxIdleConns:       4,
		IdleConnTimeout:    30 * time.Second, // below the server's, which would else close first
	}}}
}

// NotRunningError means that nobody listens on the agent's socket.
type NotRunningError struct{ Socket string }

func (e *NotRunningError) Error() string { return "the agent is not running at " + e.Socket }

// DeniedError means that the caller may not open the agent's socket.
type DeniedError struct{ Socket string }

func (e *DeniedError) Error() string { return "not allowed to use " + e.Socket }

// LostError means that the agent went away before it answered. What it was asked
// for may have been done.
type LostError struct{ Socket string }

func (e *LostError) Error() string { return "the agent at " + e.Socket + " stopped answering" }

// CodeLost marks the Result of a request that the agent's end has overtaken, be
// it a [LostError] or an orderly stop.
const CodeLost = "agent-lost"

// Close gives back idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status implements [Backend].
func (c *Client) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var s Status
	err := c.get(ctx, "/v1/status", &s)
	return s, err
}

// WaitStatus implements [Backend]; it asks again as often as the server's own
// limit makes it.
func (c *Client) WaitStatus(ctx context.Context, seq uint64) (Status, error) {
	path := "/v1/status?after=" + strconv.FormatUint(seq, 10)
	for {
		var s Status
		if err := c.poll(ctx, path, &s); err != nil || s.Seq != seq {
			return s, err
		}
	}
}

// poll is bounded even if the agent hangs without closing the connection.
func (c *Client) poll(ctx context.Context, path string, s *Status) error {
	ctx, cancel := context.WithTimeout(ctx, MaxPoll+askTimeout)
	defer cancel()
	return c.get(ctx, path, s)
}

// History implements [Backend].
func (c *Client) History(ctx context.Context, max int) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var records []Record
	err := c.get(ctx, "/v1/history?max="+strconv.Itoa(max), &records)
	return records, err
}

// Stage implements [Backend].
func (c *Client) Stage(ctx context.Context, r StageRequest) Result {
	return c.post(ctx, "/v1/stage", r)
}

// Activate implements [Backend].
func (c *Client) Activate(ctx context.Context, r ActivateRequest) Result {
	return c.post(ctx, "/v1/activate", r)
}

// Greenlight implements [Backend].
func (c *Client) Greenlight(ctx context.Context) Result {
	return c.post(ctx, "/v1/greenlight", struct{}{})
}

// Revert implements [Backend].
func (c *Client) Revert(ctx context.Context) Result {
	return c.post(ctx, "/v1/revert", struct{}{})
}

// ReplaceForwarder implements [Backend].
func (c *Client) ReplaceForwarder(ctx context.Context) Result {
	return c.post(ctx, "/v1/forwarder/replace", struct{}{})
}

// get reads an answer into v; a Result in place of one becomes an error.
func (c *Client) get(ctx context.Context, path string, v any) error {
	code, text, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return errors.New(result(code, text).Message)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("the agent's answer is not understood: %w", err)
	}
	return nil
}

// post is bounded by ctx alone: a stage takes as long as the package is large,
// and a trial as long as its manifest says.
func (c *Client) post(ctx context.Context, path string, request any) Result {
	body, err := json.Marshal(request)
	if err != nil {
		return Result{Exit: ExitError, Message: err.Error()}
	}
	code, text, err := c.do(ctx, http.MethodPost, path, body)
	if _, lost := errors.AsType[*LostError](err); lost {
		return Result{Exit: ExitError, Code: CodeLost, Message: err.Error()}
	}
	if err != nil {
		return Result{Exit: ExitError, Message: err.Error()}
	}
	return result(code, text)
}

// result reads a Result, or says that what answered is not an agent.
func result(code int, text []byte) Result {
	r := Result{Exit: -1}
	if err := json.Unmarshal(text, &r); err != nil || r.Exit < ExitDone || r.Exit > ExitReverted {
		return Result{Exit: ExitError, Message: fmt.Sprintf("the agent's answer is not understood (HTTP status %d)", code)}
	}
	return r
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, c.explain(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return 0, nil, c.explain(ctx, err)
	}
	if len(text) > MaxAnswer {
		return 0, nil, fmt.Errorf("the agent's answer is larger than %d bytes", MaxAnswer)
	}
	return resp.StatusCode, text, nil
}

// explain takes the transport's wrapping off: a person asked for the status of
// a camera, not for a GET of an URL.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the agent at %s did not answer in time: %w", c.socket, ctx.Err())
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return &NotRunningError{Socket: c.socket}
	case errors.Is(err, fs.ErrPermission):
		return &DeniedError{Socket: c.socket}
	}
	return &LostError{Socket: c.socket}
}
