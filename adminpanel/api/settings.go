package api

import (
	"context"

	"slipstream/adminpanel/view"
)

func (a *API) registerSettings() {
	add(a, "GET /settings", "The fleet's rules", a.getSettings)
	add(a, "PUT /settings", "Change the fleet's rules", a.putSettings)
}

func (a *API) getSettings(context.Context, *nothing) (*tagged[view.Settings], error) {
	return a.tagSettings(a.cfg.Settings.Now(), nil)
}

func (a *API) tagSettings(s view.Settings, err error) (*tagged[view.Settings], error) {
	if err == nil && a.cfg.Orders != nil {
		s.Roots = a.cfg.Orders.KeyIDs()
	}
	return tag(s, s.Rev, err)
}

// putSettings takes the revision from If-Match alone: what the body says of it was copied.
// Before the first change it is 0.
func (a *API) putSettings(ctx context.Context, in *struct {
	Revised
	Body view.Settings
}) (*tagged[view.Settings], error) {
	rev, whatever, err := in.seen()
	if err != nil {
		return nil, err
	}
	if whatever {
		rev = a.cfg.Settings.Now().Rev
	}
	in.Body.Rev = rev
	return a.tagSettings(a.cfg.Settings.Set(ctx, whoOf(ctx), in.Body))
}
