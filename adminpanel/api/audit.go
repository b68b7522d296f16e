package api

import (
	"context"
	"net/http"
	"strconv"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/view"
)

func (a *API) registerAudit() {
	add(a, "GET /audit", "Who did what, the newest first", a.getAudit)
	raw(a, "GET /audit/export", "The whole chain, a line each, oldest first", a.exportAudit)
}

func (a *API) getAudit(ctx context.Context, in *struct {
	After  string `query:"after" maxLength:"20" doc:"of the page before: where this one goes on"`
	Object string `query:"object" maxLength:"200" doc:"only lines about it, such as \"device cam-7\""`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}) (*answer[view.Audit], error) {
	q := audit.Query{Object: in.Object, Limit: in.Limit}
	if in.After != "" {
		var err error
		if q.Before, err = strconv.ParseInt(in.After, 10, 64); err != nil || q.Before < 1 {
			return nil, badInput("query.after", "it must be the \"after\" of the page before")
		}
	}
	lines, before, err := a.cfg.Audit.Lines(ctx, q)
	page := view.Audit{Lines: lines}
	if before > 0 {
		page.After = strconv.FormatInt(before, 10)
	}
	return say(page, err)
}

// exportAudit streams. What breaks it off shows in the chain: its last line is not the
// newest then.
func (a *API) exportAudit(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.cfg.Audit.Head(r.Context()); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Content-Disposition", `attachment; filename="audit.ndjson"`)
	if err := a.cfg.Audit.Export(r.Context(), w); err != nil {
		a.log.Warn("an export of the audit broke off", "cause", err)
		panic(http.ErrAbortHandler) // else it would look whole
	}
	return nil
}
