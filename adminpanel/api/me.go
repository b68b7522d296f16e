package api

import (
	"context"

	"slipstream/adminpanel/view"
)

func (a *API) registerMe() {
	add(a, "GET /me", "Who the caller is", func(ctx context.Context, _ *nothing) (*answer[view.Me], error) {
		return say(callerOf(ctx).Me(), nil)
	})
	add(a, "GET /hub", "How the panel itself does", func(context.Context, *nothing) (*answer[view.Hub], error) {
		return say(a.cfg.Fleet.Counts(), nil)
	})
}
