package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"slices"
	"time"

	"slipstream/agent/wire"
)

// panel is the other end of one link.
type panel struct {
	link *link
	held *held // by which it was opened
	conn *conn
	peer *tls.ConnectionState // what it has shown
}

// listen takes the panel's lines and gives up when it hears nothing.
func (p *panel) listen(ctx context.Context, body io.ReadCloser) error {
	silent := time.AfterFunc(wire.SilenceLimit, func() { body.Close() })
	defer silent.Stop()
	lines := wire.NewReader(body)
	for {
		var down wire.Down
		if err := lines.Read(&down); err != nil {
			return ended(ctx, err, !silent.Stop())
		}
		silent.Reset(wire.SilenceLimit)
		switch {
		case down.Ask != nil:
			p.link.asks.begin(*down.Ask, p.conn)
		case down.Desired != nil:
			p.link.asks.desire.take(*down.Desired)
		case down.Authorities != nil:
			p.trust(ctx, *down.Authorities)
		case down.Leave != nil:
			return &waitError{after: bounded(time.Duration(down.Leave.PauseMS) * time.Millisecond), spread: true}
		}
	}
}

// trust takes over who vouches for the panel. It came by a link that one of the
// known ones vouched for, and must let this very panel be known again: else a mistake
// there would cost the panel all its devices.
func (p *panel) trust(ctx context.Context, a wire.Authorities) {
	log := p.link.log
	if len(a.Certificates) > 0 && len(a.Certificates) <= maxAuthorities && !same(a.Certificates, p.held.Authorities) {
		roots, err := pool(a.Certificates)
		if err == nil {
			err = vouched(p.peer.PeerCertificates, roots, p.held.base.Hostname())
		}
		if err == nil {
			err = p.link.id.amend(p.held, func(d *document) { d.Authorities = a.Certificates })
		}
		if err != nil {
			log.Error("the panel's new authorities are not taken", "cause", err)
			return
		}
		log.Info("the panel has other authorities now", "count", len(a.Certificates))
		return // the identity has changed: the link begins anew, and hears the rest again
	}
	if a.Renew {
		p.renew(ctx)
	}
}

const maxAuthorities = 8

func same(x, y [][]byte) bool { return slices.EqualFunc(x, y, bytes.Equal) }

// renew asks for another certificate; with it the link begins anew.
func (p *panel) renew(ctx context.Context) {
	if now := time.Now(); p.link.renewed.IsZero() || now.Sub(p.link.renewed) > renewPause {
		p.link.renewed = now
		if err := p.link.id.renew(ctx, p.held); err != nil {
			p.link.log.Error("the certificate was not renewed", "cause", err)
			return
		}
		p.link.log.Info("the certificate was renewed")
	}
}

// stayKnown renews the certificate when a third of its life is left, by this device's
// clock; one that is wrong the panel's makes good.
func (p *panel) stayKnown(ctx context.Context) error {
	tick := time.NewTicker(renewLook)
	defer tick.Stop()
	for {
		leaf := p.held.certificate.Leaf
		if third := leaf.NotAfter.Sub(leaf.NotBefore) / 3; time.Until(leaf.NotAfter) < third {
			p.renew(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
