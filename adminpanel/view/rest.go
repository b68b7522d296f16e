package view

import (
	"encoding/json"
	"time"
)

// Release is a package that the panel offers.
type Release struct {
	ID          string     `json:"id"` // first half of the package's SHA-256, hex
	Name        string     `json:"name"`
	Version     string     `json:"version"`
	Digest      string     `json:"digest"` // package digest
	Size        int64      `json:"size"`
	Classes     []string   `json:"classes"` // "live", "system", "runtime"
	Product     string     `json:"product"`
	Hardware    []string   `json:"hardware"`
	Counter     int64      `json:"counter"`
	Epoch       int64      `json:"epoch"`
	Signers     []string   `json:"signers"` // key ids whose signatures hold
	Verified    bool       `json:"verified"`
	Logged      []LogEntry `json:"logged,omitempty"` // where public logs have these signatures; none: no log does
	Contents    []Content  `json:"contents"`
	Greenlight  string     `json:"greenlight,omitempty"`
	Notes       string     `json:"notes,omitempty"`
	UploadedBy  string     `json:"uploadedBy"`
	UploadedAt  time.Time  `json:"uploadedAt"`
	Order       *OrderInfo `json:"order,omitempty"` // newest fleet order for it
	Running     int        `json:"running"`         // devices that run it
	Withdrawn   bool       `json:"withdrawn,omitempty"`
	WithdrawnBy string     `json:"withdrawnBy,omitempty"`
}

// Content is one image of a release.
type Content struct {
	Class string `json:"class"`
	Kind  string `json:"kind"`
	Size  int64  `json:"size"`
}

// LogEntry is where a transparency log has a signature; the panel has checked the log's own word.
type LogEntry struct {
	Log   string    `json:"log"` // id of the log's key, hex
	Index int64     `json:"index"`
	Time  time.Time `json:"time,omitzero"` // when the log took it in, if it says
}

// OrderInfo is the fleet's signed word on a release.
type OrderInfo struct {
	ID      string    `json:"id"`
	Until   time.Time `json:"until,omitzero"`
	Devices string    `json:"devices"` // "all", or a selector at the time of signing
}

// Upload is a resumable upload: PATCH appends at Offset until it is Size.
type Upload struct {
	ID     string    `json:"id"`
	Size   int64     `json:"size"`
	Offset int64     `json:"offset"`
	Until  time.Time `json:"until"` // it is forgotten
}

// AuditLine is one thing that somebody did. Lines are chained: Hash covers the line and
// the hash before it.
type AuditLine struct {
	Seq    int64           `json:"seq"`
	At     time.Time       `json:"at"`
	Actor  string          `json:"actor"` // "user NAME", "token ID", "enrolment ID", "device ID", "rollout ID", "panel"
	From   string          `json:"from,omitempty"`
	Action string          `json:"action"`
	Object string          `json:"object,omitempty"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	Detail string          `json:"detail,omitempty"`
	Hash   string          `json:"hash"`
}

// Roles, each with everything that the one before may do.
const (
	RoleViewer   = "viewer"   // look
	RoleOperator = "operator" // stage, activate, confirm, revert single devices; pause rollouts
	RoleReleaser = "releaser" // upload releases, start, resume and abort rollouts
	RoleAdmin    = "admin"    // accounts, tokens, enrolment, settings
)

// Grant gives a role over the devices that a selector meets; "" is all of them.
type Grant struct {
	Role     string `json:"role" enum:"viewer,operator,releaser,admin"`
	Selector string `json:"selector,omitempty" maxLength:"2000"`
}

// Account is a person. Its password is never shown.
type Account struct {
	Name     string    `json:"name" pattern:"^[a-z0-9][a-z0-9._@-]{0,62}$"`
	Grants   []Grant   `json:"grants"`
	OIDC     bool      `json:"oidc,omitempty"` // known by the identity provider; has no password here
	Disabled bool      `json:"disabled,omitempty"`
	LastSeen time.Time `json:"lastSeen,omitzero"`
	Rev      int64     `json:"rev"`
}

// Me is the caller.
type Me struct {
	Name    string  `json:"name"`
	Kind    string  `json:"kind" enum:"user,token,setup"`
	Grants  []Grant `json:"grants"`
	UntilMS int64   `json:"untilMs"` // the session's end
}

// Token is an API token. Text is shown once, when it is made.
type Token struct {
	ID       string    `json:"id"`
	Name     string    `json:"name" maxLength:"80"`
	Grants   []Grant   `json:"grants"`
	By       string    `json:"by"`
	Created  time.Time `json:"created"`
	Until    time.Time `json:"until"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
	Text     string    `json:"text,omitempty"`
}

// Enrolment is a one-time token that lets devices join. Text is shown once.
type Enrolment struct {
	ID     string    `json:"id"`
	Device string    `json:"device,omitempty"` // only this one
	Uses   int       `json:"uses"`             // left
	Site   string    `json:"site,omitempty"`   // given to who joins by it
	Tags   []string  `json:"tags,omitempty"`
	By     string    `json:"by"`
	Until  time.Time `json:"until"`
	Text   string    `json:"text,omitempty"`
	Line   string    `json:"command,omitempty"` // what to type on the device
}

// Settings are the fleet's rules, changed by admins.
type Settings struct {
	ApproveAbove int      `json:"approveAbove"` // rollouts to more devices need a second person; 0: never
	SessionIdle  int64    `json:"sessionIdleMs"`
	OfflineAfter int64    `json:"offlineAfterMs"` // until an absence is written down
	Zone         string   `json:"zone"`           // of devices that name none
	Walls        []Wall   `json:"walls"`
	Views        []Saved  `json:"views"`
	Roots        []string `json:"roots"` // fleet root's key ids, to be compared by eye
	Rev          int64    `json:"rev"`
}

// Wall is a saved wall of tiles.
type Wall struct {
	Name     string `json:"name" maxLength:"60"`
	Selector string `json:"selector" maxLength:"2000"`
	Stream   string `json:"stream,omitempty"`
	Columns  int    `json:"columns,omitempty"`
}

// Saved is a saved filter of the device list.
type Saved struct {
	Name     string `json:"name" maxLength:"60"`
	Selector string `json:"selector" maxLength:"2000"`
}

// Event is one of the kinds that GET /api/v1/events sends. The SSE event's name is Kind,
// its id Rev; a reader that comes back with Last-Event-ID gets what it missed, or resync
// when that is too long ago.
type Event struct {
	Kind    string          `json:"kind" enum:"device,rollout,release,audit,hub,resync,beat"`
	Rev     int64           `json:"rev"`
	ID      string          `json:"id,omitempty"`   // of what changed
	Data    json.RawMessage `json:"data,omitempty"` // Device (or DeviceDetail if asked for), Rollout, Release, AuditLine, Hub
	Deleted bool            `json:"deleted,omitempty"`
}

// Hub is how the panel itself does.
type Hub struct {
	Panels    int `json:"panels"`
	Linked    int `json:"linked"`    // devices, over all panels
	Devices   int `json:"devices"`   // enrolled
	Admitting int `json:"admitting"` // links that wait to be let in
}

// Setup tells what a new panel still needs; the first-run page walks through it.
type Setup struct {
	Done      bool `json:"done"`
	Admin     bool `json:"admin"`     // an account exists
	Trust     bool `json:"trust"`     // the vendor's root is known
	Enrolment bool `json:"enrolment"` // a token was made
	Device    bool `json:"device"`    // a device has called
	Release   bool `json:"release"`   // a package was uploaded
	OIDC      bool `json:"oidc"`      // people can sign in at an identity provider
}
