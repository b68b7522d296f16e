package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/enrol"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/live"
	"slipstream/adminpanel/neighbour"
	"slipstream/adminpanel/order"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/settings"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
	"slipstream/verify"
)

// huma has one kind of error for a whole process, and this is it; and one rule for how
// names of fields are compared.
func init() {
	huma.NewError = humaProblem
	huma.ValidateStrictCasing = true
}

// problem is an error on its way to a caller.
type problem struct {
	view.Problem

	after time.Duration // when to try again, if that helps
}

func (p *problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders implements huma.HeadersError.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.after > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.after+time.Second-1)/time.Second), 10))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	return h
}

func newProblem(status int, code, detail string) *problem {
	return &problem{Problem: view.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code}}
}

// again says when to try again.
func (p *problem) again(after time.Duration) *problem {
	p.after = after
	return p
}

// badInput refuses a part of the request, such as "body.until" or "query.q".
func badInput(location, detail string) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "invalid", location[strings.Index(location, ".")+1:]+": "+detail)
	p.Errors = []view.Fault{{Location: location, Message: detail}}
	return p
}

// at names the part of the request that an error is about.
func at(location string, err error) error {
	var column *fleet.SelectorError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &column):
		p := newProblem(http.StatusUnprocessableEntity, "selector", err.Error())
		p.Errors = []view.Fault{{Location: location, Message: err.Error()}}
		return p
	}
	return badInput(location, err.Error())
}

// unavailable is for what this panel was not set up with.
func unavailable(detail string) error {
	return newProblem(http.StatusNotImplemented, "not-set-up", detail)
}

// humaProblem is for what huma finds wrong with a request by itself. The values are not
// sent back: some are secrets.
func humaProblem(status int, msg string, errs ...error) huma.StatusError {
	code := map[int]string{
		http.StatusBadRequest: "bad-json", http.StatusRequestTimeout: "too-slow", http.StatusNotAcceptable: "not-acceptable",
		http.StatusRequestEntityTooLarge: "too-large", http.StatusUnsupportedMediaType: "wrong-type", http.StatusUnprocessableEntity: "invalid",
	}[status]
	if code == "" {
		code = "internal"
	}
	p := newProblem(status, code, msg)
	var words []string
	for _, err := range errs {
		d, ok := err.(huma.ErrorDetailer) //nolint:errorlint // huma makes them, and does not wrap them
		if !ok {
			continue
		}
		detail := d.ErrorDetail()
		p.Errors = append(p.Errors, view.Fault{Location: detail.Location, Message: detail.Message})
		words = append(words, detail.Location+": "+detail.Message)
	}
	if len(words) > 0 {
		const most = 3
		p.Detail = "the request cannot be understood: " + strings.Join(words[:min(most, len(words))], "; ")
	}
	return p
}

// problem makes of any error of the panel's parts what the caller is told. One that
// nobody has foreseen is the panel's own fault: it goes to the log.
func (a *API) problem(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, words := range []func(error) *problem{callerProblem, deviceProblem, releaseProblem, rolloutProblem, storeProblem} {
		if p := words(err); p != nil {
			return p
		}
	}
	a.log.Error("a request failed", "cause", err)
	return newProblem(http.StatusInternalServerError, "internal", "the panel could not do that; its log says why")
}

func callerProblem(err error) *problem {
	if refusal, ok := errors.AsType[*auth.Error](err); ok {
		p := newProblem(refusal.Status, refusal.Code, refusal.Detail).again(refusal.After)
		if refusal.Field != "" {
			p.Errors = []view.Fault{{Location: "body." + refusal.Field, Message: refusal.Detail}}
		}
		return p
	}
	var column *fleet.SelectorError
	switch {
	case errors.As(err, &column):
		return newProblem(http.StatusUnprocessableEntity, "selector", err.Error())
	case errors.Is(err, settings.ErrInvalid):
		return newProblem(http.StatusUnprocessableEntity, "invalid", err.Error())
	case errors.Is(err, enrol.ErrInvalid):
		return newProblem(http.StatusUnprocessableEntity, "invalid", err.Error())
	case errors.Is(err, enrol.ErrUnknown):
		return newProblem(http.StatusNotFound, "no-enrolment", err.Error())
	case errors.Is(err, settings.ErrChanged):
		return newProblem(http.StatusPreconditionFailed, "changed", err.Error())
	}
	return nil
}

func deviceProblem(err error) *problem {
	var said *wire.Error
	var refused *live.Refusal
	switch {
	case errors.As(err, &refused):
		return refusedWHEP(refused.Status, refused.Sentence)
	case errors.As(err, &said):
		return newProblem(http.StatusBadGateway, "device-"+said.Code, said.Message)
	case errors.Is(err, fleet.ErrUnknown):
		return newProblem(http.StatusNotFound, "no-device", "there is no such device, or you may not see it")
	case errors.Is(err, fleet.ErrChanged):
		return newProblem(http.StatusPreconditionFailed, "changed", fleet.ErrChanged.Error())
	case errors.Is(err, fleet.ErrInvalid):
		return newProblem(http.StatusUnprocessableEntity, "invalid", err.Error())
	case errors.Is(err, enrol.ErrUnknown):
		return newProblem(http.StatusNotFound, "no-enrolment", err.Error())
	case errors.Is(err, enrol.ErrInvalid):
		return newProblem(http.StatusUnprocessableEntity, "invalid", err.Error())
	case errors.Is(err, hub.ErrOffline):
		return newProblem(http.StatusServiceUnavailable, "device-offline", "the device is not linked to this panel at present").again(time.Second)
	case errors.Is(err, neighbour.ErrNoRelay):
		return newProblem(http.StatusNotImplemented, "not-set-up", err.Error())
	case errors.Is(err, neighbour.ErrElsewhere):
		return newProblem(http.StatusServiceUnavailable, "device-elsewhere", err.Error()).again(time.Second)
	case errors.Is(err, hub.ErrLost):
		return newProblem(http.StatusBadGateway, "link-lost", "the link ended before the device answered; its status will tell what became of it")
	case errors.Is(err, hub.ErrBusy):
		return newProblem(http.StatusServiceUnavailable, "device-busy", "too many asks wait for this device").again(time.Second)
	case errors.Is(err, live.ErrFull), errors.Is(err, live.ErrCrowded):
		return newProblem(http.StatusServiceUnavailable, "relay-full", err.Error()).again(5 * time.Second)
	case errors.Is(err, live.ErrNoSession):
		return newProblem(http.StatusNotFound, "no-session", err.Error())
	}
	return nil
}

func releaseProblem(err error) *problem {
	if code := verify.Code(err); code != "" {
		return newProblem(http.StatusUnprocessableEntity, code, strings.TrimPrefix(err.Error(), "verify: "))
	}
	for _, known := range []struct {
		err    error
		status int
		code   string
	}{
		{release.ErrUnknown, http.StatusNotFound, "no-release"},
		{release.ErrWithdrawn, http.StatusGone, "withdrawn"},
		{release.ErrNoUpload, http.StatusNotFound, "no-upload"},
		{release.ErrOffset, http.StatusConflict, "offset"},
		{release.ErrBusy, http.StatusConflict, "upload-busy"},
		{release.ErrTooMany, http.StatusServiceUnavailable, "too-many-uploads"},
		{release.ErrTooLarge, http.StatusRequestEntityTooLarge, "too-large"},
		{release.ErrNotWhole, http.StatusConflict, "not-whole"},
		{release.ErrDiskFull, http.StatusInsufficientStorage, "disk-full"},
		{order.ErrNone, http.StatusNotFound, "no-order"},
		{order.ErrExpired, http.StatusGone, "order-expired"},
		{order.ErrInvalid, http.StatusUnprocessableEntity, "invalid"},
	} {
		if errors.Is(err, known.err) {
			return newProblem(known.status, known.code, err.Error())
		}
	}
	return nil
}

func rolloutProblem(err error) *problem {
	switch {
	case errors.Is(err, drive.ErrNotLeading):
		return newProblem(http.StatusServiceUnavailable, "not-leading", err.Error()).again(time.Second)
	case errors.Is(err, drive.ErrUnsaid):
		return newProblem(http.StatusGatewayTimeout, "unsaid", err.Error())
	case errors.Is(err, drive.ErrStale):
		return newProblem(http.StatusPreconditionFailed, "changed", err.Error())
	case errors.Is(err, rollout.ErrState):
		return newProblem(http.StatusConflict, "state", err.Error())
	case errors.Is(err, drive.ErrRefused):
		return newProblem(http.StatusConflict, "refused", strings.TrimPrefix(err.Error(), drive.ErrRefused.Error()+": "))
	}
	return nil
}

func storeProblem(err error) *problem {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return newProblem(http.StatusNotFound, "not-found", "there is none by that name, or it is gone")
	case errors.Is(err, store.ErrConflict):
		return newProblem(http.StatusPreconditionFailed, "changed", "something has changed meanwhile: look at it again")
	case errors.Is(err, store.ErrTooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "too-large", "it is more than the panel can keep in one piece")
	case errors.Is(err, store.ErrClosed):
		return newProblem(http.StatusServiceUnavailable, "stopping", "the panel is stopping: try again in a moment").again(time.Second)
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusGatewayTimeout, "no-answer", "no answer came in time")
	case errors.Is(err, context.Canceled):
		return newProblem(http.StatusServiceUnavailable, "given-up", "the request was given up before it was answered")
	}
	return nil
}

// fail answers with a problem.
func (a *API) fail(w http.ResponseWriter, p *problem) {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // it holds nothing that JSON cannot say
	}
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	w.Write(append(text, '\n'))
}
