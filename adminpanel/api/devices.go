package api

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// answerTime is for asks that a device answers from what it knows.
const answerTime = 10 * time.Second

// DeviceID is the path's device.
type DeviceID struct {
	ID string `path:"id" maxLength:"64" doc:"of a device"`
}

func (a *API) registerDevices() {
	add(a, "GET /devices", "Devices that a selector means, by id", a.listDevices)
	add(a, "GET /devices/{id}", "Everything about one device", func(ctx context.Context, in *DeviceID) (*tagged[view.DeviceDetail], error) {
		d, err := a.detail(ctx, callerOf(ctx), in.ID)
		return tag(d, d.Rev, err)
	})
	add(a, "GET /devices/{id}/history", "What a device went through, asked of itself", a.getHistory)
	add(a, "PATCH /devices/{id}", "Say something else of a device", a.patchDevice)
	add(a, "DELETE /devices/{id}", "Shut a device out", a.revokeDevice)
}

type listQuery struct {
	Q     string `query:"q" maxLength:"2000" doc:"a selector, such as: version<1.4 site:north -state:offline"`
	After string `query:"after" maxLength:"64" doc:"the after of the page before"`
	From  string `query:"from" maxLength:"64" doc:"begin at the first id that does not come before this"`
	At    int    `query:"at" minimum:"1" doc:"begin at this place, from 1"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

// place is where a list begins, which is said in one way.
func (q *listQuery) place() (fleet.Place, error) {
	p := fleet.Place{After: q.After, From: q.From, Number: q.At}
	if q.After != "" && q.From != "" || q.At > 0 && q.After+q.From != "" {
		return p, badInput("query.after", "a list begins after an id, from an id or at a place: say one of them")
	}
	return p, nil
}

func (a *API) listDevices(ctx context.Context, in *listQuery) (*answer[view.Devices], error) {
	s, err := within(ctx, in.Q)
	if err != nil {
		return nil, err
	}
	begin, err := in.place()
	if err != nil {
		return nil, err
	}
	rev := a.feed.now() // what is older than the list is told again, and nothing is missed
	page, first, total := a.cfg.Fleet.Table().Page(s, begin, in.Limit+1, time.Now())
	list := view.Devices{Devices: page, First: first, Total: total, Rev: rev}
	if len(page) > in.Limit {
		list.Devices = page[:in.Limit]
		list.After = page[in.Limit-1].ID
	}
	return say(list, nil)
}

// within parses the q of a request, and narrows it to what the caller may see.
func within(ctx context.Context, q string) (fleet.Selector, error) {
	s, err := fleet.ParseSelector(q)
	if err != nil {
		return s, at("query.q", err)
	}
	return s.Within(callerOf(ctx).Scope(auth.LookDevice)), nil
}

// device finds a device that the caller may do a thing to. One that the caller may not even
// see is unknown.
func (a *API) device(c auth.Caller, id string, action auth.Action) (view.Device, error) {
	d, ok := a.cfg.Fleet.Table().Get(id)
	switch {
	case !ok || !c.Can(auth.LookDevice, &d):
		return view.Device{}, fleet.ErrUnknown
	case !c.Can(action, &d):
		return view.Device{}, auth.ErrForbidden
	}
	return d, nil
}

// detail is everything about a device, as a caller may see it.
func (a *API) detail(ctx context.Context, c auth.Caller, id string) (view.DeviceDetail, error) {
	d, err := a.device(c, id, auth.LookDevice)
	if err != nil {
		return view.DeviceDetail{}, err
	}
	if d.Tags == nil {
		d.Tags = []string{}
	}
	v := view.DeviceDetail{Device: d, Asked: a.asked(id)}
	if rec, _, ok := a.cfg.Fleet.Record(id); ok {
		v.Zone, v.Note, v.EnrolledAt = rec.Zone, rec.Note, rec.Enrolled
		if rec.Serial != "" {
			v.Certificate = &view.Certificate{Serial: rec.Serial, Until: rec.Until, Revoked: !rec.Revoked.IsZero()}
		}
	}
	if s, age := a.cfg.Panels.Status(ctx, id); s != nil {
		v.Status, v.StatusAgeMS = whole(*s), age.Milliseconds()
	}
	v.Actions = actions(c, &d, v.Status)
	return v, nil
}

// whole is a status whose lists are lists, whatever the device sent.
func whole(s control.Status) *control.Status {
	if s.Slots == nil {
		s.Slots = []control.Slot{}
	}
	if s.Streams == nil {
		s.Streams = []control.StreamStatus{}
	}
	return &s
}

type historyOut = answer[view.History]

func (a *API) getHistory(ctx context.Context, in *DeviceID) (*historyOut, error) {
	const newest = 50
	if _, err := a.device(callerOf(ctx), in.ID, auth.LookDevice); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	said, err := a.cfg.Panels.Ask(ctx, in.ID, wire.Ask{History: &wire.History{Max: newest}})
	if err != nil {
		return nil, err
	}
	list := view.History{Records: []control.Record{}}
	if err := json.Unmarshal(said.History, &list.Records); err != nil {
		return nil, errBadAnswer
	}
	return say(list, nil)
}

type patchDevice struct {
	DeviceID
	Revised

	Body view.DevicePatch
}

func (a *API) patchDevice(ctx context.Context, in *patchDevice) (*tagged[view.DeviceDetail], error) {
	rev, err := in.rev()
	if err != nil {
		return nil, err
	}
	c := callerOf(ctx)
	d, err := a.device(c, in.ID, auth.EditDevice)
	if err != nil {
		return nil, err
	}
	if places(&d, &in.Body) && !c.Can(auth.PlaceDevice, &d) {
		return nil, newProblem(403, auth.ErrForbidden.Code, "roles hang on sites and tags: ask an administrator of the whole fleet to change them")
	}
	if _, err := a.cfg.Fleet.Patch(ctx, whoOf(ctx), in.ID, in.Body, rev); err != nil {
		return nil, err
	}
	v, err := a.detail(ctx, c, in.ID)
	return tag(v, v.Rev, err)
}

// places tells whether a patch changes what grants hang on.
func places(d *view.Device, p *view.DevicePatch) bool {
	if p.Site != nil && strings.TrimSpace(*p.Site) != d.Site {
		return true
	}
	if p.Tags == nil {
		return false
	}
	tags := slices.Sorted(slices.Values(*p.Tags))
	return !slices.Equal(slices.Compact(tags), slices.Sorted(slices.Values(d.Tags)))
}

type revokeDevice struct {
	DeviceID
	Revised
}

// revokeDevice ends the device's link too, if it is here; other panels see the record.
func (a *API) revokeDevice(ctx context.Context, in *revokeDevice) (*nothing, error) {
	rev, err := in.rev()
	if err != nil {
		return nil, err
	}
	if _, err := a.device(callerOf(ctx), in.ID, auth.RevokeDevice); err != nil {
		return nil, err
	}
	if err := a.cfg.Fleet.Revoke(ctx, whoOf(ctx), in.ID, rev); err != nil {
		return nil, err
	}
	a.cfg.Hub.Recheck(in.ID)
	a.cfg.Drive.Left(in.ID)
	return nil, nil //nolint:nilnil // 204
}
