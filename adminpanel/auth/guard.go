package auth

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Guard lets requests through that the panel's own pages or programs may have sent, and
// gives the others to refuse: those with a foreign name of the panel (a page elsewhere may
// have made its own name lead here), those that a browser sends for a page of another
// site, and those with a body that such a page could send without being asked first.
func (a *Auth) Guard(next http.Handler, refuse func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.check(r); err != nil {
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *Auth) check(r *http.Request) error {
	switch {
	case !a.knownHost(r.Host):
		return ErrHost
	case a.cross.Check(r) != nil:
		return ErrForeign
	}
	return a.checkBody(r)
}

// checkBody wants the type of body that the route's rule names. A body of no bytes has none.
func (a *Auth) checkBody(r *http.Request) error {
	if r.ContentLength == 0 && len(r.TransferEncoding) == 0 || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	want := bodyJSON
	if rule, ok := a.routes.of(r); ok && rule.Body != "" {
		want = rule.Body
	}
	types := r.Header.Values("Content-Type")
	if len(types) == 1 {
		if got, _, err := mime.ParseMediaType(types[0]); err == nil && got == want {
			return nil
		}
	}
	return because(ErrNotJSON, "the body must come with the Content-Type %s", want)
}

func (a *Auth) knownHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if a.hosts[host] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return a.cfg.Plain && (host == "localhost" || err == nil && ip.IsLoopback())
}

// From is the address that a request comes from. What a proxy says is believed if the
// proxy is ours: of X-Forwarded-For the last address that is not one of ours.
func (a *Auth) From(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	from := at.Addr().Unmap()
	if !a.isProxy(from) {
		return from.String()
	}
	said := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(said) {
		ip, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			break
		}
		if from = ip.Unmap(); !a.isProxy(from) {
			break
		}
	}
	return from.WithZone("").String()
}

func (a *Auth) isProxy(ip netip.Addr) bool {
	return slices.ContainsFunc(a.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// network is what counts as one address: one household has 2⁶⁴ of IPv6.
func network(from string) string {
	ip, err := netip.ParseAddr(from)
	if err != nil || ip.Is4() {
		return from
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return from
	}
	return p.String()
}
