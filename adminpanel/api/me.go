package api

import (
	"context"

	"slipstream/adminpanel/view"
)

func (a *API) registerMe() {
	add(a, "GET /me", "Who the caller is", func(ctx context.Context, _ *nothing) (*answer[view.Me], error) {
		return say(callerOf(ctx).Me(), nil)
	})
}
