// Package adminpanel is the panel: devices link to it, people look at them through its
// pages and bring releases to them.
//
// It puts the parts together and serves them:
//
//	config    what a panel is started with       store     what it remembers, in a file or in etcd
//	audit     who did what, as a chain           settings  the fleet's rules, which people change
//	fleet     all devices at once, selectors     release   packages: uploads, judgement, ranges
//	hub       the devices' links                 enrol, ca who may call: tokens, certificates
//	rollout   how a release goes to many         drive     the rollouts' hands, on one panel of all
//	auth      accounts, sessions, roles, OIDC    order     the fleet's signed word on a release
//	live      pictures through the panel         api, ui   the only door for people, and its pages
//	neighbour devices that are linked to another panel of several
//
// People and devices have an address each, and those who watch over the panel may have a third.
//
//	people   /api/v1/… /openapi.json   package api; a session, or a token of the API
//	         /healthz /readyz          for everybody: it lives; it knows its devices and its store answers
//	         /metrics                  figures for Prometheus; a token with the role viewer
//	         everything else           the pages
//	devices  POST /v1/enroll /v1/renew /v1/link, GET /v1/reach, /v1/releases/{id}, POST /v1/leg/{id}
//	metrics  /healthz /readyz /metrics, open to who reaches it
//
// Pictures that go through the panel have ports of their own: UDP for browsers and for devices,
// and TCP for browsers whose UDP is blocked (packages live and live/turn).
//
// # What it keeps
//
// The panel may stop at any moment; devices go on without it, and nothing about an update
// depends on its being there. It serves devices only when it knows them all, so that none
// is turned away by a panel that has just started; until then they wait in the kernel's
// queue. A device that is revoked or replaced has no link in the next moment, whichever
// panel has it. What was answered is in the store.
//
// # Stopping, and starting another one
//
// A panel that is to stop takes no further callers, answers who has come in and the
// requests under way for some seconds, asks its devices to come back within seconds, ends
// readers of events, and closes its store last. A store in a file is
// open in one process only, so another panel cannot run before: systemd keeps the sockets
// open meanwhile ([Listen]), and who calls then waits and is not refused. Panels on etcd
// are replaced one after the other, behind whatever spreads their callers.
//
// # Several panels
//
// Panels on one etcd serve the same people and devices. Each has a name of its own, by a lease:
// another one of the same name does not start, or takes the place of one that was killed. Who
// ends in good order hands over what it leads at once. They
// share a directory of releases, and one certificate authority, which is then in the store
// too ([OpenAuthority]). Pages are the same at each, whichever has a device's link (package
// neighbour); pictures that go through a panel go through that one.
//
// # What it defends against
//
// Strangers get the pages, which show nothing without the API, and whether the panel is well.
// Package auth refuses foreign pages and foreign names of the panel; browsers are told to run
// no script but the panel's own, and to come by TLS from then on. Without TLS it listens on
// the loopback only, unless a proxy in front does TLS. Labels of figures are routes of the
// table of rules, so that no caller can make more.
//
// # What it does not do
//
// Judge for a device whether a package may run there; say the time (devices believe the
// fleet's freshness key alone, which a panel that can be broken into must not have:
// slipstream-pack time says it, and a stick carries it); read the data of panels from before
// the first release ([ErrOldData]).
//
// Rejected: SO_REUSEPORT for a change of panels (the kernel gives callers to a process that
// is about to close, and those are refused); figures by expvar or written by hand, where
// Prometheus' own library counts and spells them rightly.
package adminpanel
