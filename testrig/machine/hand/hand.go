// Package hand is how the rig reaches into an emulated machine: by a small server there,
// the command guest, on a network that is nobody else's.
//
// It trusts both sides and bounds only what would fill a memory.
package hand

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// maxAnswer bounds what is read of the guest, in bytes.
const maxAnswer = 64 << 20

// Command is what is to be run.
type Command struct {
	Args  []string `json:"args"`
	Input string   `json:"input,omitempty"`
}

// Done is what became of a command.
type Done struct {
	Out  string `json:"out"`
	Err  string `json:"err"`
	Exit int    `json:"exit"`
}

// Hand asks a guest's server.
type Hand struct {
	base string
	http http.Client
}

// New is a hand at a server's host and port. It connects when something is asked.
func New(address string) *Hand {
	return &Hand{base: "http://" + address, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // the guest may be another one tomorrow
	}}}
}

// Run runs a command to its end.
func (h *Hand) Run(ctx context.Context, c Command) (Done, error) {
	var done Done
	body, err := json.Marshal(c)
	if err == nil {
		body, err = h.do(ctx, http.MethodPost, "/run", bytes.NewReader(body))
	}
	if err == nil {
		err = json.Unmarshal(body, &done)
	}
	if err != nil {
		err = fmt.Errorf("run %s in the machine: %w", strings.Join(c.Args, " "), err)
	}
	return done, err
}

// Put copies a file into the machine.
func (h *Hand) Put(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err == nil {
		defer in.Close()
		_, err = h.do(ctx, http.MethodPut, "/file?name="+url.QueryEscape(to), in)
	}
	if err != nil {
		return fmt.Errorf("put %s into the machine: %w", to, err)
	}
	return nil
}

// Get reads a file of the machine.
func (h *Hand) Get(ctx context.Context, name string) ([]byte, error) {
	text, err := h.do(ctx, http.MethodGet, "/file?name="+url.QueryEscape(name), nil)
	if err != nil {
		return nil, fmt.Errorf("get %s from the machine: %w", name, err)
	}
	return text, nil
}

func (h *Hand) do(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, h.base+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxAnswer:
		return nil, errors.New("the answer is too long")
	case resp.StatusCode != http.StatusOK:
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return text, nil
}

// againAfter is the pause between two questions whether the server is there, each of
// which may be lost where there is no network yet.
const (
	againAfter = 200 * time.Millisecond
	oneAnswer  = 15 * time.Second
)

// Wait waits until the server answers.
func (h *Hand) Wait(ctx context.Context) error {
	for {
		err := h.there(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return fmt.Errorf("the machine does not answer: %w", err)
		}
	}
}

func (h *Hand) there(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, oneAnswer)
	defer cancel()
	_, err := h.Run(ctx, Command{Args: []string{"true"}})
	return err
}
