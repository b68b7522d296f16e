package hub

import (
	"context"
	"errors"

	"slipstream/agent/wire"
)

// Ask sends ask, whose ID it chooses, and waits for the answer, the end of the
// link or the end of ctx. An answer that is the device's refusal to understand
// comes as a [wire.Error].
func (h *Hub) Ask(ctx context.Context, device string, ask wire.Ask) (wire.Answer, error) {
	l := h.linkOf(device)
	if l == nil {
		return wire.Answer{}, ErrOffline
	}
	return l.ask(ctx, ask)
}

func (h *Hub) linkOf(device string) *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.devices[device]; ok {
		return e.link
	}
	return nil
}

func (l *link) ask(ctx context.Context, ask wire.Ask) (wire.Answer, error) {
	id, answered, err := l.expect()
	if err != nil {
		return wire.Answer{}, err
	}
	defer l.forget(id)
	ask.ID = id
	if err := l.lines.Write(wire.Down{Ask: &ask}); err != nil {
		if !errors.Is(err, wire.ErrTooLong) {
			l.end(err)
			return wire.Answer{}, ErrLost
		}
		return wire.Answer{}, err
	}
	select {
	case answer := <-answered:
		if answer.Error != nil {
			return answer, answer.Error
		}
		return answer, nil
	case <-l.ctx.Done():
		return wire.Answer{}, ErrLost
	case <-ctx.Done():
		return wire.Answer{}, ctx.Err()
	}
}

func (l *link) expect() (uint64, <-chan wire.Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) >= maxPending {
		return 0, nil, ErrBusy
	}
	if l.pending == nil {
		l.pending = map[uint64]chan wire.Answer{}
	}
	l.next++
	answered := make(chan wire.Answer, 1)
	l.pending[l.next] = answered
	return l.next, answered, nil
}

func (l *link) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, id)
}

// deliver hands an answer to whoever asked; one that nobody waits for any more,
// or that comes twice, is dropped.
func (l *link) deliver(a wire.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if answered, ok := l.pending[a.ID]; ok {
		delete(l.pending, a.ID)
		answered <- a
	}
}
