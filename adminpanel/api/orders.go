package api

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/order"
	"slipstream/adminpanel/view"
)

func (a *API) registerOrders() {
	add(a, "POST /releases/{id}/order", "Sign the fleet's word that devices may run a release", a.postOrder)
	raw(a, "GET /releases/{id}/order", "That word as a file, for a USB stick", a.getOrder,
		query("with", "\"package\" for the whole package with the order in it"))
}

func (a *API) orders() (*order.Orders, error) {
	if a.cfg.Orders == nil {
		return nil, unavailable("this panel signs no orders: it has no root of a fleet, or no key")
	}
	return a.cfg.Orders, nil
}

func (a *API) postOrder(ctx context.Context, in *struct {
	ReleaseID
	Body view.OrderRequest
}) (*answer[view.Release], error) {
	meant, err := a.meets(in.Body.Selector)
	if err != nil {
		return nil, at("body.selector", err)
	}
	all := in.Body.Selector == ""
	if err := allowed(callerOf(ctx), auth.OrderRelease, all, slices.Values(meant)); err != nil {
		return nil, err
	}
	orders, err := a.orders()
	if err != nil {
		return nil, err
	}
	var named []string
	if !all {
		named = make([]string, 0, len(meant))
		for _, d := range meant {
			named = append(named, d.ID)
		}
	}
	return a.sayRelease(orders.Sign(ctx, whoOf(ctx), in.ID, named, in.Body.Selector, in.Body.Until))
}

// getOrder is for who may see all devices that the order names.
func (a *API) getOrder(w http.ResponseWriter, r *http.Request) error {
	orders, err := a.orders()
	if err != nil {
		return err
	}
	id, c := r.PathValue("id"), callerOf(r.Context())
	if !looksAtAll(c) && slices.ContainsFunc(orders.Named(id), func(device string) bool { return !a.mayLook(c, device) }) {
		return auth.ErrForbidden
	}
	rel, err := a.cfg.Releases.Get(r.Context(), id)
	if err != nil {
		return err
	}
	switch r.URL.Query().Get("with") {
	case "":
		text, err := orders.File(r.Context(), id)
		if err != nil {
			return err
		}
		attach(w, "application/json", rel.Name+".order.sigstore.json", int64(len(text)))
		_, _ = w.Write(text) // who does not read it all sees that
		return nil
	case "package":
		p, err := orders.Package(r.Context(), id)
		if err != nil {
			return err
		}
		defer p.Close()
		attach(w, "application/octet-stream", p.Name, p.Size)
		if _, err := io.Copy(w, p); err != nil {
			a.log.Debug("a package with its order was not read to its end", "release", id, "cause", err)
		}
		return nil
	}
	return badInput("query.with", fmt.Sprintf("it can be %q", "package"))
}

func attach(w http.ResponseWriter, kind, name string, size int64) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
}
