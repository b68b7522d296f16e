package main

import (
	"context"
	"time"

	"slipstream/agent/control"
)

// redraw is how often a terminal's line moves between two reports of the agent.
const redraw = 200 * time.Millisecond

// watched runs a request and shows meanwhile what the device does. With --json
// nothing is shown. A person who interrupts gets the sentence left instead of
// an answer that will not come.
func (c *cli) watched(ctx context.Context, b control.Backend, start control.Status, left string, do func(context.Context) control.Result) control.Result {
	result := make(chan control.Result, 1)
	go func() { result <- do(ctx) }()
	if c.json {
		return c.interrupted(ctx, <-result, left)
	}
	watch, stop := context.WithCancel(ctx)
	statuses := follow(watch, b, start.Seq)
	news := statuses
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	p := newProgress(c.err, c.term)
	for {
		select {
		case s, ok := <-news:
			if !ok {
				news = nil // no more news; the result will say why
				continue
			}
			p.show(s, time.Now())
		case now := <-tick.C:
			p.draw(now)
		case r := <-result:
			stop()
			for range statuses { // wait until the follower has gone
			}
			p.end()
			return c.interrupted(ctx, r, left)
		}
	}
}

// follow sends each status after seq until ctx ends or the agent does, which
// the request that runs beside it reports.
func follow(ctx context.Context, b control.Backend, seq uint64) <-chan control.Status {
	statuses := make(chan control.Status)
	go func() {
		defer close(statuses)
		for {
			s, err := b.WaitStatus(ctx, seq)
			if err != nil {
				return
			}
			select {
			case statuses <- s:
				seq = s.Seq
			case <-ctx.Done():
				return
			}
		}
	}()
	return statuses
}

func (c *cli) interrupted(ctx context.Context, r control.Result, left string) control.Result {
	if ctx.Err() != nil && r.Exit == control.ExitError {
		r.Message = left
	}
	return r
}
