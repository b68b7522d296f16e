package uitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

func (s *Server) routes() {
	d := &s.Data
	s.mux.HandleFunc("GET /api/v1/events", s.events)
	s.mux.HandleFunc("POST /api/v1/devices/{id}/whep/{stream}", s.whep)
	s.mux.HandleFunc("OPTIONS /api/v1/devices/{id}/whep/{stream}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s.handle("GET me", func(*http.Request, []byte) (any, error) { return d.Me, nil })
	s.handle("GET setup", func(*http.Request, []byte) (any, error) { return d.Setup, nil })
	s.handle("POST setup", s.setup)
	s.handle("POST sessions", s.login)
	s.handle("DELETE sessions/current", func(*http.Request, []byte) (any, error) { d.Me = nil; return struct{}{}, nil })
	s.handle("GET settings", func(*http.Request, []byte) (any, error) { return d.Settings, nil })
	s.handle("PUT settings", func(_ *http.Request, body []byte) (any, error) {
		d.Settings.Rev++
		return d.Settings, json.Unmarshal(body, &d.Settings)
	})
	s.handle("GET hub", func(*http.Request, []byte) (any, error) { return s.hub(), nil })
	s.handle("GET devices", s.devices)
	s.handle("GET devices/{id}", func(r *http.Request, _ []byte) (any, error) { return s.device(r.PathValue("id")) })
	s.handle("GET devices/{id}/history", func(r *http.Request, _ []byte) (any, error) {
		return view.History{Records: append([]control.Record{}, d.History[r.PathValue("id")]...)}, nil
	})
	s.handle("POST devices/{id}/{verb}", s.askDevice)
	s.handle("GET versions", func(*http.Request, []byte) (any, error) { return s.versions(), nil })
	s.handle("GET releases", func(*http.Request, []byte) (any, error) { return view.Releases{Releases: d.Releases}, nil })
	s.handle("POST uploads", s.upload)
	s.handle("GET uploads/{id}", func(r *http.Request, _ []byte) (any, error) { return d.Uploads[r.PathValue("id")], nil })
	s.handle("PATCH uploads/{id}", s.piece)
	s.handle("POST uploads/{id}/finish", func(*http.Request, []byte) (any, error) {
		s.send([]view.Event{Event("release", d.Releases[0].ID, d.Releases[0])})
		return d.Releases[0], nil
	})
	s.handle("GET rollouts", func(*http.Request, []byte) (any, error) { return view.Rollouts{Rollouts: d.Rollouts}, nil })
	s.handle("POST rollouts/preview", s.preview)
	s.handle("POST rollouts", s.plan)
	s.handle("GET rollouts/{id}", func(r *http.Request, _ []byte) (any, error) { return s.rollout(r.PathValue("id")) })
	s.handle("GET rollouts/{id}/devices", s.course)
	s.handle("POST rollouts/{id}/{verb}", s.askRollout)
	s.handle("GET audit", func(*http.Request, []byte) (any, error) { return view.Audit{Lines: d.Audit}, nil })
	s.handle("GET accounts", func(*http.Request, []byte) (any, error) { return view.Accounts{Accounts: d.Accounts}, nil })
	s.handle("GET tokens", func(*http.Request, []byte) (any, error) { return view.Tokens{Tokens: d.Tokens}, nil })
	s.handle("GET enrolments", func(*http.Request, []byte) (any, error) { return view.Enrolments{Enrolments: d.Enrolments}, nil })
	s.handle("POST enrolments", s.enrol)
}

func (s *Server) setup(_ *http.Request, body []byte) (any, error) {
	s.Data.Setup.Admin = true
	return struct{}{}, nil
}

func (s *Server) login(_ *http.Request, body []byte) (any, error) {
	var in struct{ Name, Password string }
	if err := json.Unmarshal(body, &in); err != nil || in.Password != "let me in" {
		return nil, refuse(http.StatusUnauthorized, "wrong", "name and password do not belong together")
	}
	s.Data.Me = &view.Me{Name: in.Name, Kind: "user", Grants: []view.Grant{{Role: view.RoleAdmin}}, UntilMS: 3600_000}
	return s.Data.Me, nil
}

func (s *Server) hub() view.Hub {
	h := view.Hub{Panels: 1, Devices: len(s.Data.Devices)}
	for _, d := range s.Data.Devices {
		if d.Online {
			h.Linked++
		}
	}
	return h
}

func (s *Server) askDevice(r *http.Request, _ []byte) (any, error) {
	detail, err := s.device(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	detail.Asked = &view.Asked{ID: "ask-1", Kind: r.PathValue("verb"), By: s.Data.Me.Name, At: time.Now()}
	s.send([]view.Event{Event("device", detail.ID, detail.Device)})
	return detail.Asked, nil
}

func (s *Server) versions() view.Versions {
	by := map[string]*view.VersionCount{}
	at := func(v string) *view.VersionCount {
		if by[v] == nil {
			by[v] = &view.VersionCount{Version: v}
		}
		return by[v]
	}
	for _, d := range s.Data.Devices {
		c := at(d.Running)
		c.Running++
		if d.Stale {
			c.Stale++
		}
		if d.Staged != "" {
			at(d.Staged).Staged++
		}
		if d.Previous != "" {
			at(d.Previous).Previous++
		}
	}
	all := view.Versions{Versions: []view.VersionCount{}, Total: len(s.Data.Devices), History: s.Data.Trend}
	for _, c := range by {
		all.Versions = append(all.Versions, *c)
	}
	slices.SortFunc(all.Versions, func(a, b view.VersionCount) int { return fleet.CompareVersions(b.Version, a.Version) })
	return all
}

func (s *Server) upload(_ *http.Request, body []byte) (any, error) {
	var in view.UploadRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	up := &view.Upload{ID: fmt.Sprint("up-", len(s.Data.Uploads)+1), Size: in.Size, Until: time.Now().Add(time.Hour)}
	s.Data.Uploads[up.ID] = up
	return up, nil
}

func (s *Server) piece(r *http.Request, body []byte) (any, error) {
	up := s.Data.Uploads[r.PathValue("id")]
	if up == nil {
		return nil, refuse(http.StatusNotFound, "no-upload", "there is no such upload")
	}
	if at, err := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64); err != nil || at != up.Offset {
		return nil, refuse(http.StatusConflict, "offset", "the upload is elsewhere")
	}
	up.Offset += int64(len(body))
	return up, nil
}

func (s *Server) matching(selector string) (n int, err error) {
	sel, err := fleet.ParseSelector(selector)
	if err != nil {
		return 0, refuse(http.StatusUnprocessableEntity, "selector", err.Error())
	}
	now := time.Now()
	for i := range s.Data.Devices {
		if sel.Meets(&s.Data.Devices[i], now) {
			n++
		}
	}
	return n, nil
}

func (s *Server) preview(_ *http.Request, body []byte) (any, error) {
	var plan view.Plan
	if err := json.Unmarshal(body, &plan); err != nil {
		return nil, err
	}
	n, err := s.matching(plan.Selector)
	if err != nil {
		return nil, err
	}
	p := view.Preview{Devices: n, Waves: []view.PreviewWave{}, Refused: []view.Refusal{}}
	left := n
	for _, w := range plan.Waves {
		take := min(left, w.Count+int(w.Percent*float64(n)/100))
		if w.Count == 0 && w.Percent == 0 {
			take = left
		}
		left -= take
		p.Waves = append(p.Waves, view.PreviewWave{Name: w.Name, Devices: take, Sample: []string{}})
	}
	return p, nil
}

func (s *Server) plan(_ *http.Request, body []byte) (any, error) {
	r := view.Rollout{ID: "43", State: view.RolloutDraft, Version: "2.5.0", By: s.Data.Me.Name, Created: time.Now(),
		Approvals: []view.Approval{}, Failures: []view.Cause{}, Actions: []view.Step{{Name: "start"}}}
	if err := json.Unmarshal(body, &r.Plan); err != nil {
		return nil, err
	}
	n, err := s.matching(r.Plan.Selector)
	r.Total = view.Counts{Devices: n, Queued: n}
	for _, w := range r.Plan.Waves {
		r.Waves = append(r.Waves, view.WaveState{Name: w.Name, Verdict: "waiting"})
	}
	s.Data.Rollouts = append([]view.Rollout{r}, s.Data.Rollouts...)
	return r, err
}

func (s *Server) rollout(id string) (*view.Rollout, error) {
	for i := range s.Data.Rollouts {
		if s.Data.Rollouts[i].ID == id {
			return &s.Data.Rollouts[i], nil
		}
	}
	return nil, refuse(http.StatusNotFound, "no-rollout", fmt.Sprintf("there is no rollout %q", id))
}

func (s *Server) course(r *http.Request, _ []byte) (any, error) {
	page := view.RolloutDevices{Devices: []view.RolloutDevice{}}
	for _, d := range s.Data.Courses[r.PathValue("id")] {
		if q := r.URL.Query(); fmt.Sprint(d.Wave) == q.Get("wave") && d.Phase == q.Get("phase") {
			page.Devices = append(page.Devices, d)
		}
	}
	page.Total = len(page.Devices)
	return page, nil
}

func (s *Server) askRollout(r *http.Request, body []byte) (any, error) {
	ro, err := s.rollout(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var verb view.RolloutVerb
	if err := json.Unmarshal(body, &verb); err != nil {
		return nil, err
	}
	c := ro.Total
	if name := r.PathValue("verb"); name == "abort" && (verb.Expect == nil || *verb.Expect != c.Devices-c.Done-c.Failed-c.Reverted-c.Skipped) {
		return nil, refuse(http.StatusConflict, "expect", "it concerns another number of devices by now")
	}
	state := map[string]string{"pause": view.RolloutPaused, "resume": view.RolloutRunning, "start": view.RolloutRunning, "abort": view.RolloutAborted, "abort-revert": view.RolloutRollingBack}
	if to := state[r.PathValue("verb")]; to != "" {
		ro.State = to
	}
	ro.Rev++
	s.send([]view.Event{Event("rollout", ro.ID, ro)})
	return ro, nil
}

func (s *Server) enrol(_ *http.Request, body []byte) (any, error) {
	e := view.Enrolment{ID: "e-1", By: "ann", Text: "slip-enrol-7QXK2M"}
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	e.Line = "slipstream enroll --panel https://panel.example:8443 --token " + e.Text
	s.Data.Setup.Enrolment = true
	return e, nil
}

func (s *Server) whep(w http.ResponseWriter, r *http.Request) {
	offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil || s.WHEP == nil {
		write(w, nil, refuse(http.StatusServiceUnavailable, "away", "the device is away"))
		return
	}
	answer, err := s.WHEP(r, string(offer))
	if err != nil {
		write(w, nil, refuse(http.StatusServiceUnavailable, "away", err.Error()))
		return
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", r.URL.Path+"/1")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, answer)
}
