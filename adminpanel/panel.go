package adminpanel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"slipstream/adminpanel/api"
	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/enrol"
	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/hub"
	"slipstream/adminpanel/live"
	"slipstream/adminpanel/neighbour"
	"slipstream/adminpanel/order"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/rollout/drive"
	"slipstream/adminpanel/settings"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/backup"
	"slipstream/adminpanel/store/schema"
	"slipstream/adminpanel/view"
	"slipstream/verify"
)

// Panel is one panel with its parts.
type Panel struct {
	cfg   config.Config
	at    Listeners
	log   *slog.Logger
	plain bool        // people come by HTTP, on this machine
	line  *tls.Config // of people; nil: they come by HTTP
	names []string    // by which the panel is known

	metrics   *metrics
	store     store.Store
	name      *name
	authority *ca.Authority
	audit     *audit.Log
	settings  *settings.Settings
	fleet     *fleet.Fleet
	releases  *release.Releases
	roots     []*verify.Root // of the fleet
	orders    *order.Orders  // nil: none are signed here
	auth      *auth.Auth
	desk      *enrol.Desk
	hub       *hub.Hub
	panels    *neighbour.Panels
	live      *live.Live // nil: nobody watches through the panel
	drive     *drive.Driver
	api       *api.API

	freshTime time.Duration // see freshTimeout
	rotated   chan struct{} // holds one token when the authority is another one
}

// New opens what a configuration names and puts the parts together. The listeners are the
// panel's from then on, unless it fails. Close closes it.
func New(ctx context.Context, cfg config.Config, at Listeners, log *slog.Logger) (*Panel, error) {
	p := &Panel{cfg: cfg, at: at, log: log, metrics: newMetrics(), freshTime: freshTimeout, rotated: make(chan struct{}, 1)}
	p.plain = cfg.TLS.Mode == config.TLSOff && !cfg.TLS.Proxy
	p.names = namesOf(cfg, at.Devices.Addr())
	s, err := OpenStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p.store = counted{s, p.metrics.commits}
	p.name = &name{store: p.store, text: cfg.Panel, log: log}
	if err := p.assemble(ctx); err != nil {
		p.name.resign()
		return nil, errors.Join(err, s.Close())
	}
	p.metrics.registry.MustRegister(gauges{p})
	return p, nil
}

// namesOf are the names by which people and devices reach the panel. The first one is told to devices.
func namesOf(cfg config.Config, devices net.Addr) []string {
	names := slices.Clone(cfg.Names)
	if len(names) == 0 {
		names = defaultNames(devices)
	}
	if u, err := url.Parse(cfg.URL); err == nil && u.Hostname() != "" {
		names = append(names, u.Hostname())
	}
	var once []string
	for _, name := range append(names, cfg.TLS.Hosts...) {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

// assemble makes the parts. What it began is ended if it fails.
func (p *Panel) assemble(ctx context.Context) (err error) {
	if err := schema.Prepare(ctx, p.store); err != nil {
		return err
	}
	if err := p.name.claim(ctx); err != nil {
		return err
	}
	p.audit = audit.New(p.store)
	p.settings = settings.New(p.store, p.audit, p.log)
	p.fleet = fleet.New(fleet.Config{
		Store: p.store, Audit: p.audit, Panel: p.cfg.Panel, OfflineAfter: p.settings.OfflineAfter, Log: p.log,
	})
	if p.authority, err = OpenAuthority(p.cfg, p.store); err != nil {
		return err
	}
	if p.releases, err = p.openReleases(); err != nil {
		return err
	}
	if p.auth, err = p.newAuth(); err != nil {
		return err
	}
	oidc, err := p.newOIDC()
	if err != nil {
		return err
	}
	if err := p.openOrders(); err != nil {
		return err
	}
	tokens := enrol.NewTokens(p.store, p.audit, p.authority, p.deviceURL(), p.log)
	if p.desk, err = p.newDesk(tokens); err != nil {
		return err
	}
	p.hub = hub.New(hub.Config{Identify: p.desk.Identify, Authorities: p.desk.Authorities, Roots: p.newerRoots}, p.log)
	p.panels = neighbour.New(neighbour.Config{Store: p.store, Hub: p.hub, Panel: p.cfg.Panel, At: p.fleet.At, Log: p.log})
	driving := drive.Config{
		Store: p.store, Audit: p.audit, Fleet: p.fleet.Table(), Release: p.releases.Get, Zone: p.zone, Asker: p.hub,
		Approvals: p.approvals, Alone: p.cfg.Store.Kind != config.StoreEtcd,
	}
	if p.orders != nil {
		driving.Orders = p.orders
	}
	p.drive = drive.New(driving, p.log)
	if p.line, err = peopleTLS(p.cfg.TLS, p.names, p.authority, p.store); err != nil {
		return err
	}
	if p.live, err = p.newLive(); err != nil {
		return err
	}
	if p.live != nil {
		p.panels.Serve(p.live)
	}
	p.api, err = api.New(api.Config{
		Store: p.store, Fleet: p.fleet, Hub: p.hub, Panels: p.panels, Drive: p.drive, Auth: p.auth, OIDC: oidc, Audit: p.audit,
		Settings: p.settings, Releases: p.releases, Orders: p.orders, Live: p.live, Enrolments: tokens,
		Data: p.cfg.Data, Log: p.log,
		Beside: func(packages bool) backup.Files { return Beside(p.cfg, p.store, packages) },
	})
	if err != nil && p.live != nil {
		p.live.Close()
	}
	return err
}

func (p *Panel) openReleases() (*release.Releases, error) {
	cfg := release.Config{Store: p.store, Audit: p.audit, Dir: p.cfg.ReleasesDir(), Log: p.log}
	if p.cfg.Trust != "" {
		trust, err := verify.LoadTrust(p.cfg.Trust)
		if err != nil {
			return nil, fmt.Errorf("the panel's trusted keys: %w", err)
		}
		cfg.Trust = func() *verify.Trust { return trust }
	}
	return release.Open(cfg)
}

// private are the networks on which a proxy is believed.
var private = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7"),
}

func (p *Panel) newAuth() (*auth.Auth, error) {
	cfg := auth.Config{Plain: p.plain, Hosts: p.names, Idle: p.settings.SessionIdle}
	if p.cfg.TLS.Proxy {
		cfg.Proxies = private
	}
	return auth.New(p.store, p.audit, cfg, p.log)
}

// newOIDC returns nil without an identity provider.
func (p *Panel) newOIDC() (*auth.OIDC, error) {
	cfg := p.cfg.OIDC
	if cfg.Issuer == "" {
		return nil, nil
	}
	text, err := secret(cfg.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("the secret for the identity provider: %w", err)
	}
	groups := map[string][]view.Grant{}
	for group, role := range cfg.Groups {
		groups[group] = []view.Grant{{Role: role}}
	}
	back, err := url.JoinPath(p.cfg.URL, "/api/v1/oidc/callback")
	if err != nil {
		return nil, err
	}
	return auth.NewOIDC(p.auth, auth.OIDCConfig{
		Issuer: cfg.Issuer, Client: cfg.ClientID, Secret: text, Redirect: back, GroupsClaim: cfg.Claim, Groups: groups,
	})
}

func (p *Panel) newDesk(tokens *enrol.Tokens) (*enrol.Desk, error) {
	cfg := enrol.Config{Authority: p.authority, Tokens: tokens, Fleet: p.fleet, Names: p.names, Log: p.log}
	if len(p.roots) > 0 {
		cfg.FleetRoot = p.roots[len(p.roots)-1].Bytes()
	}
	return enrol.New(cfg), nil
}

// newLive returns nil if nobody watches through the panel.
func (p *Panel) newLive() (*live.Live, error) {
	if p.cfg.Live.Media == "" {
		return nil, nil
	}
	cfg := live.Config{
		Asker: p.panels, Bin: p.cfg.Live.Bin, Media: p.cfg.Live.Media, Legs: p.cfg.Live.Legs,
		TURN: p.cfg.Live.TURN, TURNAt: p.cfg.Live.TURNAt, TLS: p.line, Log: p.log,
	}
	if cfg.Bin == "" {
		own, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the programs that bring pictures to viewers: %w", err)
		}
		cfg.Bin = filepath.Dir(own)
	}
	for _, text := range p.cfg.Live.Advertise {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		cfg.Advertise = append(cfg.Advertise, ip)
	}
	return live.New(cfg)
}

// zone is the time zone of a device, in which the windows of rollouts are.
func (p *Panel) zone(device string) string {
	if r, _, ok := p.fleet.Record(device); ok && r.Zone != "" {
		return r.Zone
	}
	return p.settings.Now().Zone
}

// approvals is how many people besides its author a rollout to so many devices takes.
func (p *Panel) approvals(plan view.Plan, devices int) int {
	return auth.Approvals(view.Rollout{Plan: plan, Total: view.Counts{Devices: devices}}, p.settings.Now().ApproveAbove)
}

// deviceURL is where devices call.
func (p *Panel) deviceURL() string {
	_, port, err := net.SplitHostPort(p.at.Devices.Addr().String())
	if err != nil {
		port = "8443" // it is no TCP; only tests do that
	}
	return "https://" + net.JoinHostPort(p.names[0], port)
}

// URL is where people find the panel: by the address at which it listens, or, if that is none
// to call or by which it is not to be called, by its first name.
func (p *Panel) URL() string {
	if p.cfg.URL != "" {
		return p.cfg.URL
	}
	scheme := "https"
	if p.plain {
		scheme = "http"
	}
	at := p.at.People.Addr().String()
	host, port, err := net.SplitHostPort(at)
	if err == nil && len(p.names) > 0 && !slices.Contains(p.names, host) {
		at = net.JoinHostPort(p.names[0], port)
	}
	return scheme + "://" + at
}

// SetupToken makes the token by which a new panel gets its first account; "" if there has
// been one.
func (p *Panel) SetupToken(ctx context.Context) (string, error) { return p.auth.SetupToken(ctx) }

// Close ends what the panel began and closes its store. Serve has returned before.
func (p *Panel) Close() error {
	p.api.Close()
	if p.live != nil {
		p.live.Close()
	}
	p.hub.Wait()
	p.name.resign()
	return errors.Join(p.at.Close(), p.store.Close())
}
