package view

import (
	"time"

	"slipstream/agent/control"
)

// Device states, one word for what a fleet's operator needs to know. They are derived
// from the newest status of the device; the first that applies counts.
const (
	DeviceOffline   = "offline"   // no link at present
	DeviceStaging   = "staging"   // a package is being written
	DeviceTrial     = "trial"     // a new version is on trial, or on its way to it
	DeviceReverting = "reverting" // the old version is coming back
	DeviceProblem   = "problem"   // it reports something that somebody must put right
	DeviceStaged    = "staged"    // a version waits to be activated
	DeviceReady     = "ready"     // none of the above
)

// Device is one row of the fleet: what lists show and selectors ask for.
type Device struct {
	ID       string   `json:"id"`
	Name     string   `json:"name,omitempty"` // what people call it
	Site     string   `json:"site,omitempty"`
	Tags     []string `json:"tags"`
	Product  string   `json:"product,omitempty"`
	Hardware string   `json:"hardware,omitempty"`

	State    string    `json:"state"`    // one of the Device constants
	Online   bool      `json:"online"`   // linked to a panel now
	LastSeen time.Time `json:"lastSeen"` // zero: it never called
	Stale    bool      `json:"stale"`    // the versions below are those last heard, of a device that is away

	Running  string `json:"running,omitempty"`  // version that viewers see
	Slot     string `json:"slot,omitempty"`     // its slot
	Staged   string `json:"staged,omitempty"`   // version that waits
	Previous string `json:"previous,omitempty"` // version that a revert would bring back
	System   string `json:"system,omitempty"`   // version of the system slot that runs
	Runtime  string `json:"runtime,omitempty"`  // version of Slipstream's own programs

	Streams []string `json:"streams,omitempty"` // its pictures; walls show sub if it is among them, and pages of a device main

	Rollout string `json:"rollout,omitempty"` // that it is in at present
	Rev     int64  `json:"rev"`               // of this record in the store; for If-Match
}

// DeviceDetail is everything about one device.
type DeviceDetail struct {
	Device

	Status      *control.Status `json:"status,omitempty"` // newest that it sent
	StatusAgeMS int64           `json:"statusAgeMs"`      // how old that is
	Asked       *Asked          `json:"asked,omitempty"`  // newest that was asked of it
	Zone        string          `json:"zone,omitempty"`   // IANA time zone of its windows
	Note        string          `json:"note,omitempty"`
	EnrolledAt  time.Time       `json:"enrolledAt,omitzero"`
	Certificate *Certificate    `json:"certificate,omitempty"`
	Actions     []Action        `json:"actions"` // what the caller may do, and why not
}

// Action is a button: what it asks for and why it cannot be pressed.
type Action struct {
	Name   string `json:"name" enum:"stage,activate,confirm,revert,cancel"`
	Denied string `json:"denied,omitempty"` // one plain sentence; empty: it may be pressed
}

// Certificate is what a device proves itself with.
type Certificate struct {
	Serial  string    `json:"serial"`
	Until   time.Time `json:"until"`
	Revoked bool      `json:"revoked,omitempty"`
}

// Asked is something that was asked of a device, and then what it said.
type Asked struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind" enum:"stage,activate,upgrade,confirm,revert,cancel"`
	By      string    `json:"by"` // account, or "rollout ID"
	Release string    `json:"release,omitempty"`
	Version string    `json:"version,omitempty"`
	At      time.Time `json:"at"`
	Done    bool      `json:"done"` // it has answered, or was not reached
	Exit    int       `json:"exit"` // as of the device's commands; see package control
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
}

// Devices is a page of them, in the order of their ids.
type Devices struct {
	Devices []Device `json:"devices"`
	First   int      `json:"first"`           // place of the first of them among all that the selector meets, from 1
	Total   int      `json:"total"`           // that the selector meets, on all pages
	After   string   `json:"after,omitempty"` // for the next page; empty on the last
	Rev     int64    `json:"rev"`             // of the store, to compare with that of events
}

// DevicePatch changes what people say of a device. A nil field stays as it is.
type DevicePatch struct {
	Name *string   `json:"name,omitempty" maxLength:"80"`
	Site *string   `json:"site,omitempty" maxLength:"80"`
	Tags *[]string `json:"tags,omitempty" maxItems:"32"`
	Zone *string   `json:"zone,omitempty" maxLength:"64"`
	Note *string   `json:"note,omitempty" maxLength:"2000"`
}

// StageRequest, ActivateRequest and their like ask one device for one thing.
type StageRequest struct {
	Release string `json:"release" doc:"id of a release of the panel"`
	Force   bool   `json:"force,omitempty" doc:"also a version that this device has reverted before"`
}

// ActivateRequest asks for the trial of the staged version.
type ActivateRequest struct {
	Force bool `json:"force,omitempty"`
}

// UpgradeRequest asks one device for everything: stage, activate, and tell the end.
type UpgradeRequest struct {
	Release string `json:"release"`
	Force   bool   `json:"force,omitempty"`
}

// Versions counts the fleet by version. Every device is counted once in each of
// Running's columns' sums: their sum over all versions is Total.
type Versions struct {
	Versions []VersionCount `json:"versions"` // newest version first
	Total    int            `json:"total"`
	History  []VersionPoint `json:"history,omitempty"` // the last day, oldest first
}

// VersionCount is how many devices have a version in which role.
type VersionCount struct {
	Version  string `json:"version"` // "": not known
	Running  int    `json:"running"` // of these, Stale are away and were last heard with it
	Stale    int    `json:"stale"`
	Staged   int    `json:"staged"`
	Previous int    `json:"previous"`
	Reverted int    `json:"reverted"` // devices that tried it and went back
}

// VersionPoint is a moment of the trend.
type VersionPoint struct {
	At      time.Time      `json:"at"`
	Running map[string]int `json:"running"`
}

// At are devices that run a version, in an order that stays the same: a hash of their ids.
type At struct {
	Version string   `json:"version"`
	Devices []string `json:"devices"`
	Total   int      `json:"total"` // that run it
}
