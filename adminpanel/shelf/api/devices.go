package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/shelf"
	"slipstream/agent/control"
	"slipstream/agent/wire"
)

// Device is a device as the API shows it.
type Device struct {
	ID       string `json:"id"`
	Online   bool   `json:"online"`
	Product  string `json:"product,omitempty"`
	Hardware string `json:"hardware,omitempty"`
	Version  string `json:"version,omitempty"` // permanent one, as far as known
	// LastSeen is empty for a device that never called.
	LastSeen time.Time       `json:"lastSeen,omitzero"`
	Status   *control.Status `json:"status,omitempty"`
	// StatusAgeMS is how old the status is by the panel's clock, so that nobody
	// has to compare clocks to show a countdown.
	StatusAgeMS int64      `json:"statusAgeMs"`
	Asked       *hub.Asked `json:"asked,omitempty"`
}

// answerTimeout is for asks that a device answers from what it knows.
const answerTimeout = 10 * time.Second

func (a *API) listDevices(w http.ResponseWriter, _ *http.Request) {
	list, err := a.devices()
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"devices": list})
}

func (a *API) getDevice(w http.ResponseWriter, r *http.Request) {
	d, err := a.device(r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, d)
}

// devices lists every device that is enrolled, was met before, or is here.
func (a *API) devices() ([]Device, error) {
	byID := map[string]Device{}
	enrolled, err := a.store.Enrolled.Devices()
	if err != nil {
		return nil, err
	}
	for _, id := range enrolled {
		byID[id] = Device{ID: id}
	}
	met, err := a.store.Devices()
	if err != nil {
		return nil, err
	}
	for _, d := range met {
		byID[d.ID] = remembered(d)
	}
	for _, d := range a.hub.Devices() {
		byID[d.ID] = present(d)
	}
	list := make([]Device, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		list = append(list, byID[id])
	}
	return list, nil
}

func (a *API) device(id string) (Device, error) {
	if d, ok := a.hub.Device(id); ok {
		return present(d), nil
	}
	list, err := a.devices()
	if err != nil {
		return Device{}, err
	}
	i := slices.IndexFunc(list, func(d Device) bool { return d.ID == id })
	if i < 0 {
		return Device{}, problem{http.StatusNotFound, "unknown-device", "no device of this name is enrolled"}
	}
	return list[i], nil
}

func remembered(d shelf.Device) Device {
	return Device{ID: d.ID, Product: d.Product, Hardware: d.Hardware, Version: d.Version, LastSeen: d.LastSeen}
}

func present(d hub.Device) Device {
	view := Device{ID: d.ID, Online: d.Online, LastSeen: d.Seen.UTC(), Asked: d.Asked, Status: d.Status}
	if d.Status != nil {
		view.Product, view.Hardware, view.Version = d.Status.Product, d.Status.Hardware, d.Status.Permanent
		view.StatusAgeMS = time.Since(d.StatusAt).Milliseconds()
	}
	return view
}

func (a *API) getHistory(w http.ResponseWriter, r *http.Request) {
	const records = 50
	answer, err := a.ask(r.Context(), r.PathValue("id"), wire.Ask{History: &wire.History{Max: records}}, answerTimeout)
	if err != nil {
		fail(w, err)
		return
	}
	list := []control.Record{}
	if err := json.Unmarshal(answer.History, &list); err != nil {
		fail(w, errBadAnswer)
		return
	}
	reply(w, http.StatusOK, map[string]any{"history": list})
}

// ask asks a device that must exist, and turns what can go wrong into problems.
func (a *API) ask(ctx context.Context, id string, ask wire.Ask, limit time.Duration) (wire.Answer, error) {
	if _, err := a.device(id); err != nil {
		return wire.Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := a.hub.Ask(ctx, id, ask)
	if err != nil {
		return wire.Answer{}, linkProblem(err)
	}
	return answer, nil
}

var errBadAnswer = problem{http.StatusBadGateway, "bad-answer", "the device's answer is not one to this ask"}

func linkProblem(err error) error {
	if said, ok := errors.AsType[*wire.Error](err); ok {
		return problem{http.StatusBadGateway, "device-" + said.Code, said.Message}
	}
	switch {
	case errors.Is(err, hub.ErrOffline):
		return problem{http.StatusServiceUnavailable, "device-offline", "the device is not linked to the panel at present"}
	case errors.Is(err, hub.ErrLost):
		return problem{http.StatusBadGateway, "link-lost", "the link ended before the device answered; its status will tell what became of it"}
	case errors.Is(err, hub.ErrBusy):
		return problem{http.StatusServiceUnavailable, "device-busy", "too many asks wait for this device"}
	case errors.Is(err, context.DeadlineExceeded):
		return problem{http.StatusGatewayTimeout, "no-answer", "the device did not answer in time"}
	default:
		return err
	}
}
