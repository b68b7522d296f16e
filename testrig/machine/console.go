package machine

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"sync"
)

const (
	maxConsole = 4 << 20 // of what is kept, the end
	tailBytes  = 4000    // of an error
)

// Console is what a machine says on its serial line, over all its runs.
type Console struct {
	mu    sync.Mutex // guards what follows
	text  []byte
	gone  int // bytes before text
	keys  io.Writer
	wake  chan struct{} // closed and made anew whenever something comes
	place int           // up to where Expect has looked
}

func newConsole() *Console { return &Console{wake: make(chan struct{})} }

// Write implements io.Writer: QEMU's own complaints stand there, too.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if over := len(c.text) - maxConsole; over > 0 {
		c.text = append([]byte(nil), c.text[over:]...)
		c.gone += over
	}
	close(c.wake)
	c.wake = make(chan struct{})
	return len(p), nil
}

func (c *Console) attach(keys io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = keys
}

// read takes over what comes until its end.
func (c *Console) read(from io.Reader) {
	_, _ = io.Copy(c, from) // that the machine is off is said elsewhere
}

// Type sends keys to the machine.
func (c *Console) Type(keys string) error {
	c.mu.Lock()
	to := c.keys
	c.mu.Unlock()
	if to == nil {
		return errOff
	}
	_, err := io.WriteString(to, keys)
	return err
}

// Expect waits until the machine has said something that matches, behind what the last
// Expect found, and returns it. What the machine was told it may echo.
func (c *Console) Expect(ctx context.Context, what *regexp.Regexp) (string, error) {
	for {
		found, ok, wake := c.find(what)
		if ok {
			return found, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return "", fmt.Errorf("the machine did not say %q: %w\n%s", what, ctx.Err(), c.Tail())
		}
	}
}

// Said is what the machine has said already that matches, behind what the last Expect
// found; "" for nothing.
func (c *Console) Said(what *regexp.Regexp) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(what.Find(c.text[max(0, c.place-c.gone):]))
}

func (c *Console) find(what *regexp.Regexp) (found string, ok bool, wake <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.text[max(0, c.place-c.gone):]
	at := what.FindIndex(rest)
	if at == nil {
		return "", false, c.wake
	}
	c.place = c.gone + len(c.text) - len(rest) + at[1]
	return string(rest[at[0]:at[1]]), true, nil
}

// Text is all that was said, as far as it is kept.
func (c *Console) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}

// Tail is the end of it, for errors.
func (c *Console) Tail() string {
	text := c.Text()
	return "--- console\n" + text[max(0, len(text)-tailBytes):]
}
