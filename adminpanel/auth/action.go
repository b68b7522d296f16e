package auth

import (
	"net/http"

	"slipstream/adminpanel/view"
)

// Action is something that callers do, whatever the route.
type Action string

// Actions.
const (
	LookDevice   Action = "look at devices"
	LookFleet    Action = "look at the fleet" // releases, rollouts, settings: nothing of single devices
	LookAudit    Action = "read the audit"
	Watch        Action = "watch video"
	Operate      Action = "operate devices"
	EditDevice   Action = "describe devices" // name, note, time zone
	PlaceDevice  Action = "place devices"    // site and tags, on which grants hang
	RevokeDevice Action = "revoke devices"
	AddRelease   Action = "add releases"
	OrderRelease Action = "sign orders"
	PlanRollout  Action = "plan rollouts"
	PauseRollout Action = "pause rollouts"
	Confirm      Action = "confirm rollouts"
	DriveRollout Action = "drive rollouts"
	ManageAccess Action = "manage access" // accounts, enrolments
	ChangeFleet  Action = "change settings"
	BackUp       Action = "back up"           // all that the panel remembers, and what secrets are checked with
	OwnAccess    Action = "manage own access" // password, sessions, tokens
	Me           Action = "see who one is"
	SignIn       Action = "sign in"
)

// Reach says over which devices a grant must be for an action.
type Reach int

// Reaches.
const (
	Open   Reach = iota // nobody has to be signed in
	Self                // who is signed in, for what is theirs
	Any                 // over any devices; lists show those of the grant alone
	Device              // over the device that is meant
	Some                // over one of the devices that are meant, or more
	Every               // over all devices that are meant
	Fleet               // over all devices, whatever they are
)

// need is the least role for an action, and over what.
type need struct {
	role  string // "" where Reach is Open or Self
	reach Reach
}

// needs is the one place that says who may do what. PauseRollout takes one device: who
// answers for a site may stop what happens to it, and only who answers for all goes on.
var needs = map[Action]need{
	LookDevice:   {view.RoleViewer, Device},
	LookFleet:    {view.RoleViewer, Any},
	LookAudit:    {view.RoleViewer, Fleet},
	Watch:        {view.RoleViewer, Device},
	Operate:      {view.RoleOperator, Device},
	EditDevice:   {view.RoleOperator, Device},
	PlaceDevice:  {view.RoleAdmin, Fleet},
	RevokeDevice: {view.RoleAdmin, Device},
	AddRelease:   {view.RoleReleaser, Fleet},
	OrderRelease: {view.RoleReleaser, Every},
	PlanRollout:  {view.RoleReleaser, Every},
	PauseRollout: {view.RoleOperator, Some},
	Confirm:      {view.RoleOperator, Every},
	DriveRollout: {view.RoleReleaser, Every},
	ManageAccess: {view.RoleAdmin, Fleet},
	ChangeFleet:  {view.RoleAdmin, Fleet},
	BackUp:       {view.RoleAdmin, Fleet},
	OwnAccess:    {"", Self},
	Me:           {"", Self},
	SignIn:       {"", Open},
}

// ReachOf tells over which devices a grant must be for an action, and the least role.
func ReachOf(a Action) (role string, reach Reach) {
	n, ok := needs[a]
	if !ok {
		return view.RoleAdmin, Fleet
	}
	return n.role, n.reach
}

// Bodies that routes take.
const (
	bodyJSON  = "application/json"
	bodyBytes = "application/octet-stream"
	bodyPatch = "application/offset+octet-stream"
	bodySDP   = "application/sdp"
	bodyTrick = "application/trickle-ice-sdpfrag"
)

// Rule is what a route asks of its callers.
type Rule struct {
	Route  string // pattern of [http.ServeMux]
	Action Action
	Body   string // its content type; "" is JSON
}

// Rules are all routes of the API. A route that is not here is refused to everybody.
var Rules = []Rule{
	{"GET /api/v1/me", Me, ""},
	{"GET /api/v1/setup", SignIn, ""},
	{"POST /api/v1/setup", SignIn, ""},
	{"POST /api/v1/sessions", SignIn, ""},
	{"GET /api/v1/oidc/login", SignIn, ""},
	{"GET /api/v1/oidc/callback", SignIn, ""},

	{"GET /api/v1/sessions", OwnAccess, ""},
	{"DELETE /api/v1/sessions/{id}", OwnAccess, ""}, // "current" is the caller's
	{"PUT /api/v1/me/password", OwnAccess, ""},
	{"GET /api/v1/tokens", OwnAccess, ""},
	{"POST /api/v1/tokens", OwnAccess, ""},
	{"DELETE /api/v1/tokens/{id}", OwnAccess, ""},

	{"GET /api/v1/settings", LookFleet, ""},
	{"PUT /api/v1/settings", ChangeFleet, ""},
	{"GET /api/v1/hub", LookFleet, ""},
	{"GET /api/v1/events", LookFleet, ""},

	{"GET /api/v1/devices", LookDevice, ""},
	{"GET /api/v1/devices/{id}", LookDevice, ""},
	{"GET /api/v1/devices/{id}/history", LookDevice, ""},
	{"GET /api/v1/versions", LookDevice, ""},
	{"GET /api/v1/at", LookDevice, ""},
	{"PATCH /api/v1/devices/{id}", EditDevice, ""}, // and PlaceDevice for site and tags
	{"DELETE /api/v1/devices/{id}", RevokeDevice, ""},
	{"POST /api/v1/devices/{id}/stage", Operate, ""},
	{"POST /api/v1/devices/{id}/activate", Operate, ""},
	{"POST /api/v1/devices/{id}/confirm", Operate, ""},
	{"POST /api/v1/devices/{id}/revert", Operate, ""},
	{"POST /api/v1/devices/{id}/cancel", Operate, ""},
	{"POST /api/v1/devices/{id}/upgrade", Operate, ""},
	{"POST /api/v1/devices/{id}/whep/{stream}", Watch, bodySDP},
	{"OPTIONS /api/v1/devices/{id}/whep/{stream}", Watch, ""},
	{"PATCH /api/v1/devices/{id}/whep/{stream}/{session}", Watch, bodyTrick},
	{"DELETE /api/v1/devices/{id}/whep/{stream}/{session}", Watch, ""},

	{"GET /api/v1/releases", LookFleet, ""},
	{"GET /api/v1/releases/{id}", LookFleet, ""},
	{"POST /api/v1/releases", AddRelease, bodyBytes},
	{"DELETE /api/v1/releases/{id}", AddRelease, ""},
	{"POST /api/v1/releases/{id}/order", OrderRelease, ""},
	{"GET /api/v1/releases/{id}/order", LookFleet, ""},
	{"POST /api/v1/uploads", AddRelease, ""},
	{"GET /api/v1/uploads/{id}", AddRelease, ""},
	{"PATCH /api/v1/uploads/{id}", AddRelease, bodyPatch},
	{"POST /api/v1/uploads/{id}/finish", AddRelease, ""},
	{"DELETE /api/v1/uploads/{id}", AddRelease, ""},

	{"GET /api/v1/rollouts", LookFleet, ""},
	{"GET /api/v1/rollouts/{id}", LookFleet, ""},
	{"GET /api/v1/rollouts/{id}/devices", LookDevice, ""},
	{"POST /api/v1/rollouts", PlanRollout, ""},
	{"POST /api/v1/rollouts/preview", PlanRollout, ""},
	{"POST /api/v1/rollouts/{id}/pause", PauseRollout, ""},
	{"POST /api/v1/rollouts/{id}/confirm", Confirm, ""},
	{"POST /api/v1/rollouts/{id}/approve", DriveRollout, ""},
	{"POST /api/v1/rollouts/{id}/start", DriveRollout, ""},
	{"POST /api/v1/rollouts/{id}/resume", DriveRollout, ""},
	{"POST /api/v1/rollouts/{id}/abort", DriveRollout, ""},
	{"POST /api/v1/rollouts/{id}/abort-revert", DriveRollout, ""},
	{"POST /api/v1/rollouts/{id}/retry", DriveRollout, ""},
	{"POST /api/v1/rollouts/{id}/skip-wave", DriveRollout, ""},

	{"GET /api/v1/audit", LookAudit, ""},
	{"GET /api/v1/audit/export", LookAudit, ""},

	{"GET /api/v1/backup", BackUp, ""},

	{"GET /api/v1/accounts", ManageAccess, ""},
	{"POST /api/v1/accounts", ManageAccess, ""},
	{"PATCH /api/v1/accounts/{id}", ManageAccess, ""},
	{"DELETE /api/v1/accounts/{id}", ManageAccess, ""},
	{"GET /api/v1/enrolments", ManageAccess, ""},
	{"POST /api/v1/enrolments", ManageAccess, ""},
	{"DELETE /api/v1/enrolments/{id}", ManageAccess, ""},
}

// routes finds the rule of a request by the same rules by which the API finds its handler.
type routes struct {
	mux   *http.ServeMux
	rules map[string]Rule
}

func newRoutes() routes {
	t := routes{http.NewServeMux(), make(map[string]Rule, len(Rules))}
	for _, rule := range Rules {
		t.mux.Handle(rule.Route, http.NotFoundHandler())
		t.rules[rule.Route] = rule
	}
	return t
}

func (t routes) of(r *http.Request) (Rule, bool) {
	_, pattern := t.mux.Handler(r)
	rule, ok := t.rules[pattern]
	return rule, ok
}
