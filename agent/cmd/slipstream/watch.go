package main

import (
	"context"
	"time"

	"slipstream/agent"
	"slipstream/agent/control"
)

// redraw is how often a terminal's line moves between two reports of the agent.
const redraw = 200 * time.Millisecond

// watched runs a request and shows meanwhile what the device does. With --json
// nothing is shown. The sentence goesOn says what becomes of the request if its
// answer will not come.
func (c *cli) watched(ctx context.Context, b control.Backend, start control.Status, goesOn string, do func(context.Context) control.Result) control.Result {
	result := make(chan control.Result, 1)
	go func() { result <- do(ctx) }()
	if c.json {
		return left(ctx, <-result, goesOn)
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
			return left(ctx, r, goesOn)
		}
	}
}

// follow sends each status after seq until ctx ends, the next agent's too if one
// ends meanwhile.
func follow(ctx context.Context, b control.Backend, seq uint64) <-chan control.Status {
	statuses := make(chan control.Status)
	go func() {
		defer close(statuses)
		for {
			s, err := b.WaitStatus(ctx, seq)
			if err != nil {
				if !agent.Wait(ctx, reconnectEvery) {
					return
				}
				continue
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

// left replaces the answer that will not come: the person interrupted, or the
// agent went away, and in both cases the device goes on by itself.
func left(ctx context.Context, r control.Result, sentence string) control.Result {
	switch {
	case r.Code == control.CodeLost:
		r.Message += "; " + sentence
	case ctx.Err() != nil && r.Exit == control.ExitError:
		r.Message = "interrupted; " + sentence
	}
	return r
}
