package wire

import (
	"encoding/json"
	"time"
)

const (
	// Path is where the panel takes links.
	Path = "/v1/link"
	// ReachPath is what a device asks for to see whether it reaches its panel.
	ReachPath = "/v1/reach"
	// MaxLine bounds one line in bytes, its newline included, either way.
	MaxLine = 256 << 10
	// PingEvery is the longest time that an end stays silent.
	PingEvery = 5 * time.Second
	// SilenceLimit is how long an end waits for the other before it gives up.
	SilenceLimit = 3*PingEvery + time.Second
	// MaxFragment bounds a fragment of one, either way, and MaxTag an entity tag or several.
	MaxFragment, MaxTag = 16 << 10, 256
	// MaxOffer bounds an SDP, either way: it has to fit a line after quoting.
	MaxOffer = 64 << 10
	// Protocol is what this package speaks. It grows when a peer must behave otherwise
	// than by ignoring what it does not know.
	Protocol = 1
)

// Up is one line from the device.
type Up struct {
	Hello  *Hello          `json:"hello,omitempty"`  // first line, once
	Status json.RawMessage `json:"status,omitempty"` // a control.Status, whole
	Report *Report         `json:"report,omitempty"` // where the newest Desired stands
	Answer *Answer         `json:"answer,omitempty"`
	Ping   *Ping           `json:"ping,omitempty"`
}

// Down is one line from the panel.
type Down struct {
	Ask         *Ask         `json:"ask,omitempty"`
	Desired     *Desired     `json:"desired,omitempty"`
	Authorities *Authorities `json:"authorities,omitempty"`
	Leave       *Leave       `json:"leave,omitempty"`
	Ping        *Ping        `json:"ping,omitempty"`
}

// Hello says what calls. Device must be the one of the certificate; that alone says
// who it is.
type Hello struct {
	Device   string `json:"device"`
	Product  string `json:"product,omitempty"`
	Hardware string `json:"hardware,omitempty"`
	Agent    string `json:"agent,omitempty"` // its version
	Boot     string `json:"boot,omitempty"`  // id of the boot
	Protocol int    `json:"protocol"`
	Slots    []Slot `json:"slots,omitempty"`
}

// Slot is what lies in one live slot.
type Slot struct {
	Name    string `json:"name"`
	State   string `json:"state"` // a state of package control
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

// Authorities are those that vouch for the panel, all of them: they take the place
// of those that the device knew. With Renew the device's certificate is of one that
// goes, and the device asks for another at once.
type Authorities struct {
	Certificates [][]byte `json:"certificates"` // DER
	Renew        bool     `json:"renew,omitempty"`
}

// Leave is a panel's word that it ends the link, as it does before it ends itself.
// The device calls again after a random part of the pause.
type Leave struct {
	PauseMS int64 `json:"pauseMs"`
}

// Ping says "still here" and asks for nothing.
type Ping struct{}

// Ask is something the panel wants. Exactly one pointer is set.
type Ask struct {
	ID         uint64    `json:"id"` // echoed in the answer, unique in a link
	Stage      *Stage    `json:"stage,omitempty"`
	Activate   *Activate `json:"activate,omitempty"`
	Trust      *Trust    `json:"trust,omitempty"`
	Greenlight *struct{} `json:"greenlight,omitempty"`
	Revert     *struct{} `json:"revert,omitempty"`
	History    *History  `json:"history,omitempty"`
	WHEP       *WHEP     `json:"whep,omitempty"`
	EndWHEP    *EndWHEP  `json:"endWhep,omitempty"`
	TellWHEP   *TellWHEP `json:"tellWhep,omitempty"`
	Leg        *Leg      `json:"leg,omitempty"`
	EndLeg     *EndLeg   `json:"endLeg,omitempty"`

	// RevertFrom goes with Revert: the digest of the package that the device is to leave. One
	// that has it neither on trial nor as its permanent version does nothing.
	RevertFrom string `json:"revertFrom,omitempty"`
}

// Stage asks for a package out of the panel's own releases.
type Stage struct {
	// URL is relative to the panel's, since only the device knows by which
	// address it reaches the panel.
	URL   string `json:"url"`
	Force bool   `json:"force,omitempty"`
	// Order is the signature files of the fleet's order for the package, in the place
	// of one inside it.
	Order [][]byte `json:"order,omitempty"`
}

// Activate asks for the trial of the staged version; the answer comes when the
// trial has begun, and the end of it shows in the status. With an epoch it is for
// what [Desired] of that epoch named and for nothing else, and asked twice it
// begins one trial.
type Activate struct {
	Force bool   `json:"force,omitempty"`
	Epoch uint64 `json:"epoch,omitempty"`
}

// Trust brings newer roots and the fleet's word of the time. They are believed by
// their signatures.
type Trust struct {
	Vendor [][]byte `json:"vendor,omitempty"` // roots that follow each other
	Fleet  [][]byte `json:"fleet,omitempty"`
	Time   [][]byte `json:"time,omitempty"` // signature files over one statement
}

// History asks for the newest entries of the device's history.
type History struct {
	Max int `json:"max"`
}

// WHEP carries a viewer's offer to the device's gateway (RFC 9725).
type WHEP struct {
	Stream string `json:"stream"`
	Offer  string `json:"offer"` // SDP
}

// TellWHEP carries what a viewer says of its ICE session to the gateway: more candidates,
// or that it begins another one (RFC 9725 §4.3).
type TellWHEP struct {
	Session  string `json:"session"`
	Match    string `json:"match"`    // its If-Match
	Fragment string `json:"fragment"` // application/trickle-ice-sdpfrag
}

// EndWHEP ends a session that WHEP began.
type EndWHEP struct {
	Session string `json:"session"`
}

// Codes of an answer without a result.
const (
	CodeUnknownAsk = "unknown-ask" // the device is older than the panel
	CodeBusy       = "busy"        // too many asks at once
	CodeRefused    = "refused"     // the ask makes no sense
	CodeFailed     = "failed"      // the device tried and could not
	CodeOldEpoch   = "old-epoch"   // the ask is for an epoch that is not the device's
)

// Answer answers the ask with the same ID. Error is set, or what was asked for.
type Answer struct {
	ID      uint64          `json:"id"`
	Result  json.RawMessage `json:"result,omitempty"`  // control.Result: stage, activate, trust, greenlight, revert
	History json.RawMessage `json:"history,omitempty"` // []control.Record, newest first
	WHEP    *WHEPAnswer     `json:"whep,omitempty"`
	Told    *WHEPTold       `json:"told,omitempty"`
	Leg     *LegAnswer      `json:"leg,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

// WHEPAnswer is the gateway's answer to an offer.
type WHEPAnswer struct {
	SDP     string `json:"sdp"`
	Session string `json:"session"`
	Tag     string `json:"tag,omitempty"` // of its ICE session
}

// WHEPTold is the gateway's answer to TellWHEP, a refusal too.
type WHEPTold struct {
	Status int    `json:"status"`         // as in HTTP
	Tag    string `json:"tag,omitempty"`  // of another ICE session, with status 200
	Body   string `json:"body,omitempty"` // a fragment with status 200, or why it is refused
}

// Error says why an ask came to nothing, in one plain sentence.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }
