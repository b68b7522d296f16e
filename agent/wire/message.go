package wire

import (
	"encoding/json"
	"time"
)

const (
	// Path is where the panel takes links.
	Path = "/v1/link"
	// MaxLine bounds one line in bytes, its newline included, either way.
	MaxLine = 256 << 10
	// PingEvery is the longest time that an end stays silent.
	PingEvery = 5 * time.Second
	// SilenceLimit is how long an end waits for the other before it gives up.
	SilenceLimit = 3*PingEvery + time.Second
	// MaxOffer bounds an SDP, either way: it has to fit a line after quoting.
	MaxOffer = 64 << 10
)

// Up is one line from the device.
type Up struct {
	Hello  *Hello          `json:"hello,omitempty"`  // first line, once
	Status json.RawMessage `json:"status,omitempty"` // a control.Status, whole
	Answer *Answer         `json:"answer,omitempty"`
	Ping   *Ping           `json:"ping,omitempty"`
}

// Down is one line from the panel.
type Down struct {
	Ask  *Ask  `json:"ask,omitempty"`
	Ping *Ping `json:"ping,omitempty"`
}

// Hello names the device; it must be the one that the token was made for.
type Hello struct {
	Device string `json:"device"`
}

// Ping says "still here" and asks for nothing.
type Ping struct{}

// Ask is something the panel wants. Exactly one member besides ID is set.
type Ask struct {
	ID         uint64    `json:"id"` // echoed in the answer, unique in a link
	Stage      *Stage    `json:"stage,omitempty"`
	Activate   *Activate `json:"activate,omitempty"`
	Greenlight *struct{} `json:"greenlight,omitempty"`
	Revert     *struct{} `json:"revert,omitempty"`
	History    *History  `json:"history,omitempty"`
	WHEP       *WHEP     `json:"whep,omitempty"`
	EndWHEP    *EndWHEP  `json:"endWhep,omitempty"`
}

// Stage asks for a package out of the panel's own releases.
type Stage struct {
	// URL is relative to the panel's, since only the device knows by which
	// address it reaches the panel.
	URL   string `json:"url"`
	Force bool   `json:"force,omitempty"`
}

// Activate asks for the trial of the staged version; the answer comes when the
// trial has begun, and the end of it shows in the status.
type Activate struct {
	Force bool `json:"force,omitempty"`
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
)

// Answer answers the ask with the same ID. Error is set, or what was asked for.
type Answer struct {
	ID      uint64          `json:"id"`
	Result  json.RawMessage `json:"result,omitempty"`  // control.Result: stage, activate, greenlight, revert
	History json.RawMessage `json:"history,omitempty"` // []control.Record, newest first
	WHEP    *WHEPAnswer     `json:"whep,omitempty"`
	Error   *Error          `json:"error,omitempty"`
}

// WHEPAnswer is the gateway's answer to an offer.
type WHEPAnswer struct {
	SDP     string `json:"sdp"`
	Session string `json:"session"`
}

// Error says why an ask came to nothing, in one plain sentence.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }
