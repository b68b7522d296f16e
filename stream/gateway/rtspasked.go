package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"

	"slipstream/stream/handover"
)

// maxReply is the longest answer that the forwarder puts between two packets.
const maxReply = 4 << 10

// askedQueue holds the requests of the forwarder's viewers; each has one at most.
const askedQueue = 2 * DefaultMaxViewers

// takeAsked puts a request into the queue.
func (g *Gateway) takeAsked(a handover.Asked) {
	select {
	case g.asked <- a:
	default:
		g.log.Warn("an RTSP viewer's request stays without an answer: too many wait", "session", a.ID)
	}
}

// answerAsked answers the requests that the forwarder passes on, until ctx ends.
func (g *Gateway) answerAsked(ctx context.Context) {
	for {
		select {
		case a := <-g.asked:
			if err := g.forwarder.reply(a.ID, g.answerTo(ctx, a)); err != nil {
				g.log.Debug("an RTSP viewer's request stays without an answer", "session", a.ID, "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// answerTo answers a request of a viewer who was let in, maybe by an earlier
// gateway, and watches.
func (g *Gateway) answerTo(ctx context.Context, a handover.Asked) []byte {
	r, err := readRequest(bufio.NewReaderSize(bytes.NewReader(a.Request), maxRTSPHead))
	if err != nil {
		bad := (*rtspError)(nil)
		if !errors.As(err, &bad) {
			bad = refuse(base.StatusBadRequest, err.Error())
		}
		return answerBytes(refused(bad), "")
	}
	text := answerBytes(g.watching(ctx, a.ID, r), r.cseq)
	if len(text) > maxReply {
		return answerBytes(response(base.StatusInternalServerError), r.cseq)
	}
	return text
}

func (g *Gateway) watching(ctx context.Context, session string, r *rtspRequest) *base.Response {
	switch r.Method {
	case base.Describe:
		stream, _, ok := rtspPath(r.URL)
		if !ok {
			return response(base.StatusNotFound)
		}
		return g.describe(ctx, r, stream)
	case base.Play: // again
		return named(response(base.StatusOK), session)
	case base.Setup:
		return response(base.StatusMethodNotValidInThisState)
	}
	return always(r, session)
}

// always answers what does not depend on a session's state.
func always(r *rtspRequest, session string) *base.Response {
	public := base.Header{"Public": base.HeaderValue{rtspMethods}}
	switch r.Method {
	case base.Options:
		return &base.Response{StatusCode: base.StatusOK, Header: public}
	case base.Pause:
		return response(base.StatusMethodNotValidInThisState) // it is live
	case base.GetParameter, base.SetParameter:
		if r.body > 0 { // there are no parameters; without one it is a sign of life
			return response(base.StatusParameterNotUnderstood)
		}
		return named(response(base.StatusOK), session)
	}
	return &base.Response{StatusCode: base.StatusNotImplemented, Header: public}
}

// adoptPlayer keeps the place of a viewer that an earlier gateway has given to the
// forwarder.
func (g *Gateway) adoptPlayer(ctx context.Context, k handover.Known, has *given) error {
	addr, err := netip.ParseAddrPort(k.Address)
	if err != nil {
		return fmt.Errorf("the forwarder told of viewer %q at %q", k.ID, k.Address)
	}
	seat := g.guests.welcome(addr.Addr(), time.Now())
	left := g.metrics.present(handover.KindRTSP, k.Stream)
	g.running.Go(func() {
		defer seat.leave()
		defer left()
		select {
		case <-has.ended:
			g.log.Info("viewer left", "stream", k.Stream, "by", k.Kind, "session", k.ID, "because", has.why)
		case <-ctx.Done():
		}
	})
	return nil
}
