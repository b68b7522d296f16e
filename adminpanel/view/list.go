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
	Device string    `json:"device,omitempty"`
	Uses   int       `json:"uses"`
	Site   string    `json:"site,omitempty"`
	Tags   []string  `json:"tags,omitempty"`
	Until  time.Time `json:"until"`
}

// UploadRequest begins a resumable upload.
type UploadRequest struct {
	Size int64  `json:"size"`
	Name string `json:"name"`
}

// OrderRequest asks for the fleet's signed word on a release.
type OrderRequest struct {
	Selector string    `json:"selector"`
	Until    time.Time `json:"until,omitzero"`
}
