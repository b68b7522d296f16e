package api

import (
	"context"
	"time"

	"slipstream/adminpanel/view"
)

// trend is how much of the past the version matrix shows.
const trend = 24 * time.Hour

func (a *API) registerVersions() {
	add(a, "GET /versions", "How many devices have which version", a.getVersions)
	add(a, "GET /at", "Devices that run a version", a.getAt)
}

type VersionsQuery struct {
	Q string `query:"q" maxLength:"2000" doc:"a selector; none: all devices"`
}

// getVersions has no past for a part of the fleet: what was counted then was all of it.
func (a *API) getVersions(ctx context.Context, in *VersionsQuery) (*answer[view.Versions], error) {
	s, err := within(ctx, in.Q)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	v := a.cfg.Fleet.Table().Versions(s, now)
	if s.All() {
		v.History, err = a.cfg.Fleet.History(ctx, now.Add(-trend))
	}
	return say(v, err)
}

type atQuery struct {
	VersionsQuery

	Version string `query:"version" required:"true" minLength:"1" maxLength:"128"`
	N       int    `query:"n" minimum:"0" maximum:"100000" doc:"at most so many; 0: all"`
}

func (a *API) getAt(ctx context.Context, in *atQuery) (*answer[view.At], error) {
	s, err := within(ctx, in.Q)
	if err != nil {
		return nil, err
	}
	ids, total := a.cfg.Fleet.Table().At(s, in.Version, in.N, time.Now())
	return say(view.At{Version: in.Version, Devices: ids, Total: total}, nil)
}
