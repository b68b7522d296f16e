package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
)

const (
	maxSources = 8
	maxStreams = 64 // of one source; a relay has many
)

// identifier is what a source, stream or trial may be called: it becomes part
// of a socket's path.
var identifier = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// agentConn is the agent's connection. A new one takes the place of the one before.
type agentConn struct {
	fd     int
	number uint64 // counts the connections
	buf    [orders.MaxMessage]byte
	oob    [256]byte
}

type agentListener int

func (fd agentListener) ready(c *Core, now int64) {
	for {
		conn, ok := c.acceptOwn(int(fd), "orders")
		if !ok {
			return
		}
		enlarge(conn, unix.SO_SNDBUF, 1<<20)
		c.hearOut()
		c.closeAgent()
		c.agents++
		a := &agentConn{fd: conn, number: c.agents}
		if err := c.poll.add(conn, unix.EPOLLIN, a); err != nil {
			unix.Close(conn)
			continue
		}
		c.agent = a
		c.keeper.all() // it may be another agent, who keeps nothing yet
	}
}

func (c *Core) closeAgent() {
	if c.agent != nil {
		c.poll.close(c.agent.fd)
		c.agent = nil
	}
}

// tell sends a message to the agent. Without one, or with one that does not
// read, the message is dropped: an agent that connects again asks for the state.
func (c *Core) tell(m orders.Message) {
	if c.agent == nil {
		return
	}
	body, err := json.Marshal(m)
	if err == nil {
		err = sendControl(c.agent.fd, body)
	}
	if err != nil {
		c.log.Warn("the agent takes no messages and is disconnected", "reason", err)
		c.closeAgent()
	}
}

// tellWish tells the agent of a wish for a key frame. One that does not read now does
// not hear of it: the next wish is as good.
func (c *Core) tellWish(w orders.KeyWish) {
	if c.agent == nil {
		return
	}
	if body, err := json.Marshal(orders.Message{KeyWish: &w}); err == nil {
		_ = sendControl(c.agent.fd, body)
	}
}

// ready takes one request, so that answers keep the order of the requests.
func (a *agentConn) ready(c *Core, now int64) {
	var req orders.Request
	fds, err := receiveRequest(a.fd, a.buf[:], a.oob[:], &req)
	defer closeAll(fds)
	switch {
	case errors.Is(err, errNothing):
		return
	case errors.Is(err, errGone):
		c.log.Info("the agent is gone; its orders stand")
		c.closeAgent()
		return
	case err == nil:
		err = c.request(&req, fds, now)
	}
	if err != nil {
		c.log.Error("request refused", "reason", err)
		c.tell(orders.Message{Req: req.Req, Result: orders.ResultError, Error: err.Error()})
	}
}

// request does what the agent asks and answers it. Descriptors that are kept
// are set to −1 in fds.
func (c *Core) request(req *orders.Request, fds []int, now int64) error {
	answer := orders.Message{Req: req.Req, Result: orders.ResultOK}
	switch {
	case req.Orders != nil:
		if err := c.obey(req.Orders, fds, now); err != nil {
			return err
		}
	case req.Hold != nil:
		return c.hold(req, now)
	case req.Settle != nil:
		if err := c.settle(req.Settle, now); err != nil {
			return err
		}
		answer.Result = orders.ResultSettled
	case req.Revert != nil:
		return c.revertOnRequest(req, now)
	case req.Leg != nil:
		p, err := c.serveLeg(req.Leg, fds, now)
		if err != nil {
			return err
		}
		c.tell(answer)
		p.play(c, now)
		return nil
	case req.EndLeg != "":
		if err := c.endLeg(req.EndLeg); err != nil {
			return err
		}
	case req.Keep != "", req.Drop != "", req.DropOthers, req.Kept:
		return c.keepForAgent(req, fds)
	case req.Status:
		answer.Status = c.status(now)
	default:
		return errors.New("a request that asks for nothing")
	}
	c.tell(answer)
	return nil
}

func (c *Core) hold(req *orders.Request, now int64) error {
	h := req.Hold
	if h.LeaseMS < 1 || h.LeaseMS > 60_000 {
		return fmt.Errorf("a lease of %d ms is not between 1 ms and 60 s", h.LeaseMS)
	}
	// The deadline may have passed in this very turn of the loop: then it counts.
	if cause := c.trial.expired(now); cause != "" {
		c.revert(cause, expiry[cause], now)
	}
	why := "the trial's source does not carry every stream yet"
	answer := orders.Message{Req: req.Req}
	answer.Result = c.standing.hold(h, now, func() (ok bool) {
		ok, why = c.mayCommit(now)
		return ok
	})
	switch answer.Verdicts = c.verdicts(); answer.Result {
	case orders.ResultReverted:
		return c.answerReverted(req.Req, h.Trial)
	case orders.ResultWait:
		answer.Error = why
	}
	c.tell(answer)
	return nil
}

// answerReverted answers a request about a trial that is over, once viewers are back.
func (c *Core) answerReverted(req uint64, id orders.TrialID) error {
	if r := c.reversion; r != nil && r.report.Trial == id {
		r.reqs = append(r.reqs, req)
		return nil
	}
	end := c.ended.find(id)
	switch {
	case end == nil: // a trial that this forwarder never carried
		end = &ending{Reverted: orders.Reverted{Trial: id, Source: c.permanent, Cause: orders.CauseOrders, Detail: "the forwarder does not know this trial"}}
	case end.settled:
		return fmt.Errorf("trial %q is settled: its version is the permanent one", id)
	}
	c.tell(orders.Message{Req: req, Result: orders.ResultReverted, Revert: &end.Reverted})
	return nil
}

func (c *Core) revertOnRequest(req *orders.Request, now int64) error {
	if c.trial.phase != steady && c.trial.id == req.Revert.Trial {
		c.revert(req.Revert.Reason, "the agent ended the trial", now)
	}
	return c.answerReverted(req.Req, req.Revert.Trial)
}

// settle makes the trial's source the permanent one, whatever has happened
// since hold: the commit point is behind us.
func (c *Core) settle(s *orders.Settle, now int64) error {
	if c.sources[s.Source] == nil {
		return fmt.Errorf("source %q is not among the orders", s.Source)
	}
	c.setPermanent(c.sources[s.Source])
	c.standing.settle(s)
	if a := c.amendment; a != nil && a.report.Trial == s.Trial {
		c.amendment = nil
	}
	for _, spec := range c.sources[s.Source].spec.Streams {
		if st := c.streams[spec.Name]; st != nil && st.want != s.Source {
			c.turn(st, s.Source, now)
		}
	}
	return c.note()
}

func (c *Core) status(now int64) *orders.Status {
	st := &orders.Status{
		Permanent: c.permanent, Trial: c.trial.id, Phase: c.trial.phase.String(), Verdicts: c.verdicts(), Restored: c.restored, OneByOne: c.oneByOne(),
	}
	for _, s := range c.streams {
		view := orders.StreamStatus{Name: s.name, Viewers: len(s.tracks)}
		if s.followed != nil {
			view.Followed = s.followed.source.spec.ID
		}
		for _, src := range c.sources {
			if l := src.lines[s.name]; l != nil {
				view.Lines = append(view.Lines, l.status(now))
			}
		}
		st.Streams = append(st.Streams, view)
	}
	return st
}
