package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"slipstream/adminpanel/view"
)

const (
	maxEvent = 4 << 20 // bytes of one line
	// maxSilence is after how long a stream that says nothing is as good as none; the panel
	// says something each 10 s.
	maxSilence   = 25 * time.Second
	maxReconnect = 5 * time.Second
	// maxFirst is how often a panel is called again that was not there yet.
	maxFirst = 2
)

// Kinds of events beside those of what has changed.
const (
	KindResync = "resync" // something was missed: ask for everything anew
	kindBeat   = "beat"
)

// Topics say which events are wanted.
type Topics struct {
	Topics   []string // "devices", "device:ID", "rollouts", "rollout:ID", "releases", "audit", "hub"
	Selector string   // of devices; "": all
	After    int64    // revision after which they begin; 0: now
}

// Events are the panel's, until ctx ends or the loop does. When the panel goes away after it
// was there, it is waited for, and goes on where it stopped; if that is too long ago there
// comes one of [KindResync]. An error is the last of them.
func (c *Client) Events(ctx context.Context, t Topics) iter.Seq2[view.Event, error] {
	return func(yield func(view.Event, error) bool) {
		last, met := t.After, false
		for failed := 0; ; {
			err := c.listen(ctx, t, last, func(e view.Event) bool {
				met, failed = true, 0
				last = max(last, e.Rev)
				return e.Kind == kindBeat || yield(e, nil)
			})
			switch {
			case errors.Is(err, errLeft):
				return
			case ctx.Err() != nil:
				yield(view.Event{}, ctx.Err())
				return
			case refused(err) || !met && failed >= maxFirst:
				yield(view.Event{}, err)
				return
			}
			failed++
			if err := pause(ctx, min(250*time.Millisecond<<min(failed, 6), maxReconnect)); err != nil {
				yield(view.Event{}, err)
				return
			}
		}
	}
}

var (
	errLeft   = errors.New("nobody listens any more")
	errSilent = errors.New("the panel's events have fallen silent")
)

// refused tells whether a panel will say the same the next time.
func refused(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Status >= 400 && p.Status < 500 && p.Status != http.StatusTooManyRequests && p.Status != http.StatusRequestTimeout
}

// listen reads one stream to its end.
func (c *Client) listen(ctx context.Context, t Topics, last int64, each func(view.Event) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(maxSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	q := query("topics", strings.Join(t.Topics, ","), "q", t.Selector)
	header := http.Header{"Accept": {"text/event-stream"}}
	if last > 0 {
		text := strconv.FormatInt(last, 10)
		q.Set("after", text)
		header.Set("Last-Event-ID", text)
	}
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "events", query: q, header: header}, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return readEvents(resp.Body, func(e view.Event) bool {
		silence.Reset(maxSilence)
		return each(e)
	})
}

// readEvents reads server-sent events. What is in their data is the whole of them.
func readEvents(r io.Reader, each func(view.Event) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	data := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		switch {
		case field == "data":
			data += strings.TrimPrefix(value, " ")
		case lines.Text() == "" && data != "":
			var e view.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return fmt.Errorf("an event of the panel is not understood: %w", err)
			}
			if data = ""; !each(e) {
				return errLeft
			}
		}
		if len(data) > maxEvent {
			return fmt.Errorf("an event of the panel has more than %d bytes", maxEvent)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
