package view

import "time"

// Session is a browser that is signed in. Its id lets nobody in.
type Session struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // of the account
	From    string    `json:"from"` // address that it came from
	Agent   string    `json:"agent,omitempty"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"` // within some minutes
	Until   time.Time `json:"until"`
	Current bool      `json:"current,omitempty"` // the caller's own
}

// Login asks for a session.
type Login struct {
	Name     string `json:"name" maxLength:"64"`
	Password string `json:"password" maxLength:"200"`
}

// SetupRequest makes a new panel's first account.
type SetupRequest struct {
	Token    string `json:"token" maxLength:"100" doc:"that the panel printed when it started"`
	Name     string `json:"name" pattern:"^[a-z0-9][a-z0-9._@-]{0,62}$"`
	Password string `json:"password" minLength:"12" maxLength:"200"`
}

// PasswordChange is by who knows the present one. It ends the account's other sessions.
type PasswordChange struct {
	Old string `json:"old" maxLength:"200"`
	New string `json:"new" minLength:"12" maxLength:"200"`
}

// AccountRequest makes an account.
type AccountRequest struct {
	Name     string  `json:"name" pattern:"^[a-z0-9][a-z0-9._@-]{0,62}$"`
	Password string  `json:"password" minLength:"12" maxLength:"200"`
	Grants   []Grant `json:"grants" maxItems:"32"`
}

// AccountPatch changes an account. A nil field stays as it is.
type AccountPatch struct {
	Password *string  `json:"password,omitempty" minLength:"12" maxLength:"200"`
	Grants   *[]Grant `json:"grants,omitempty" maxItems:"32"`
	Disabled *bool    `json:"disabled,omitempty"`
}

// TokenRequest makes an API token.
type TokenRequest struct {
	Name   string    `json:"name" minLength:"1" maxLength:"80"`
	Grants []Grant   `json:"grants" minItems:"1" maxItems:"32"`
	Until  time.Time `json:"until"`
}
