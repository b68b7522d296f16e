package view

import (
	"time"

	"slipstream/agent/control"
)

// History is what a device went through, in its own records, newest first.
type History struct {
	Records []control.Record `json:"records"`
}

// Releases are all of them, newest first.
type Releases struct {
	Releases []Release `json:"releases"`
}

// Rollouts are all of them, newest first.
type Rollouts struct {
	Rollouts []Rollout `json:"rollouts"`
}

// Audit is a page of lines, newest first.
type Audit struct {
	Lines []AuditLine `json:"lines"`
	After string      `json:"after,omitempty"` // for the next page; empty on the last
}

// Accounts are all of them, by name.
type Accounts struct {
	Accounts []Account `json:"accounts"`
}

// Sessions are those that last.
type Sessions struct {
	Sessions []Session `json:"sessions"`
}

// Tokens are all API tokens, without their texts.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// Enrolments are those that can still be used, without their texts.
type Enrolments struct {
	Enrolments []Enrolment `json:"enrolments"`
}

// EnrolmentRequest makes a token that lets devices join.
type EnrolmentRequest struct {
	Device string    `json:"device,omitempty" maxLength:"63" doc:"only this one; else any that has no certificate yet"`
	Uses   int       `json:"uses" minimum:"1" maximum:"256"`
	Site   string    `json:"site,omitempty" maxLength:"80" doc:"given to who joins by it"`
	Tags   []string  `json:"tags,omitempty" maxItems:"32"`
	Until  time.Time `json:"until"`
}

// UploadRequest begins a resumable upload.
type UploadRequest struct {
	Size int64  `json:"size" minimum:"1"`
	Name string `json:"name" maxLength:"200" doc:"of the file, for people"`
}

// OrderRequest asks for the fleet's signed word on a release.
type OrderRequest struct {
	Selector string    `json:"selector" maxLength:"2000" doc:"which devices; empty: all of the fleet, also those that join later"`
	Until    time.Time `json:"until,omitzero" doc:"when it ends; none: in 30 days"`
}
