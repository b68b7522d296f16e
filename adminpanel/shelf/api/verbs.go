package api

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/shelf"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

const (
	// stageTimeout is generous: a package of 4 GiB over a slow uplink.
	stageTimeout = 2 * time.Hour
	// verbTimeout covers the start of an app, which the answer to activate awaits.
	verbTimeout = 5 * time.Minute
	maxWait     = stageTimeout
)

func (a *API) postStage(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Release string `json:"release"`
		Force   bool   `json:"force"`
	}
	if err := decode(w, r, &body); err != nil {
		fail(w, err)
		return
	}
	release, err := a.store.Release(body.Release)
	if errors.Is(err, shelf.ErrNotFound) {
		err = problem{http.StatusNotFound, "unknown-release", "the panel has no such release"}
	}
	if err != nil {
		fail(w, err)
		return
	}
	a.verb(w, r, hub.Asked{Kind: "stage", Release: release.ID, Version: release.Version},
		wire.Ask{Stage: &wire.Stage{URL: "/v1/releases/" + release.ID, Force: body.Force}}, stageTimeout)
}

func (a *API) postActivate(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Force bool `json:"force"`
	}
	if err := decode(w, r, &body); err != nil {
		fail(w, err)
		return
	}
	a.verb(w, r, hub.Asked{Kind: "activate"}, wire.Ask{Activate: &wire.Activate{Force: body.Force}}, verbTimeout)
}

func (a *API) postGreenlight(w http.ResponseWriter, r *http.Request) {
	a.verb(w, r, hub.Asked{Kind: "greenlight"}, wire.Ask{Greenlight: &struct{}{}}, verbTimeout)
}

func (a *API) postRevert(w http.ResponseWriter, r *http.Request) {
	a.verb(w, r, hub.Asked{Kind: "revert"}, wire.Ask{Revert: &struct{}{}}, verbTimeout)
}

// verb asks the device for something that changes it, and answers at once or,
// if the caller wants to wait, with the outcome.
func (a *API) verb(w http.ResponseWriter, r *http.Request, asked hub.Asked, ask wire.Ask, limit time.Duration) {
	wait, err := waitOf(r)
	if err != nil {
		fail(w, err)
		return
	}
	id := r.PathValue("id")
	device, err := a.device(id)
	if err == nil && !device.Online {
		err = linkProblem(hub.ErrOffline)
	}
	if err != nil {
		fail(w, err)
		return
	}
	asked.ID, asked.At = rand.Text(), time.Now().UTC()
	if err := a.store.Audit(auditOf(r.RemoteAddr, id, asked, "")); err != nil {
		fail(w, err)
		return
	}
	a.hub.SetAsked(id, asked)
	outcome := make(chan hub.Asked, 1)
	a.asks.Go(func() { outcome <- a.carry(r.RemoteAddr, id, asked, ask, limit) })
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case asked = <-outcome:
		reply(w, http.StatusOK, asked)
	case <-timer.C:
		reply(w, http.StatusAccepted, asked)
	case <-r.Context().Done():
	}
}

// carry brings the ask to the device and the answer to everyone who watches.
func (a *API) carry(actor, id string, asked hub.Asked, ask wire.Ask, limit time.Duration) hub.Asked {
	answer, err := a.ask(a.ctx, id, ask, limit)
	asked.Done = true
	var result control.Result
	if err == nil && json.Unmarshal(answer.Result, &result) != nil {
		err = errBadAnswer
	}
	if err != nil {
		result = control.Result{Exit: control.ExitError, Message: err.Error()}
		if p, ok := errors.AsType[problem](err); ok {
			result.Code = p.Code
		}
	}
	asked.Exit, asked.Code, asked.Message = result.Exit, result.Code, result.Message
	a.hub.SetAsked(id, asked)
	if err := a.store.Audit(auditOf(actor, id, asked, result.Message)); err != nil {
		a.log.Error("an answer was not audited", "device", id, "cause", err)
	}
	return asked
}

func auditOf(actor, device string, asked hub.Asked, said string) shelf.AuditLine {
	line := shelf.AuditLine{
		Time: time.Now().UTC(), Actor: actor, Action: asked.Kind, Device: device, Release: asked.Release, Detail: asked.Version,
	}
	if asked.Done {
		line.Actor, line.Action, line.Detail = "device "+device, asked.Kind+" answered", said
	}
	return line
}

func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, problem{http.StatusBadRequest, "bad-wait", "wait must be a time such as 30s, at most " + maxWait.String()}
	}
	return wait, nil
}

func (a *API) listAudit(w http.ResponseWriter, _ *http.Request) {
	const newest = 200
	lines, err := a.store.AuditLines(newest)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"audit": lines})
}
