package verify

import "time"

// Manifest is the predicate of a package's in-toto Statement: everything that
// is signed about a version. Durations are whole milliseconds: in signed JSON only
// the bounds of invariants may be fractions, and each number has one spelling.
type Manifest struct {
	Format         int         `json:"format"`  // 1
	Product        string      `json:"product"` // must equal the device's product
	Hardware       []string    `json:"hardware"`
	Version        string      `json:"version"`        // semver, for people
	ReleaseCounter int64       `json:"releaseCounter"` // for machines: never goes down
	SecurityEpoch  int64       `json:"securityEpoch"`
	MinFromCounter int64       `json:"minFromCounter,omitempty"`
	IssuedAt       time.Time   `json:"issuedAt"`
	Expires        time.Time   `json:"expires,omitzero"`
	Images         []Image     `json:"images"`
	App            *App        `json:"app,omitempty"`   // missing only where there is no live image
	Trial          *TrialTerms `json:"trial,omitempty"` // of a trial without an app, which has its own
	Requires       *Requires   `json:"requires,omitempty"`
	Notes          string      `json:"notes,omitempty"`
}

// Image is one slot image carried by the package as the members
// Name+".chunks" and Name, in this order.
type Image struct {
	Name   string     `json:"name"`  // member name, at most 28 bytes
	Class  string     `json:"class"` // slot class: "live", "system" or "runtime"
	Kind   string     `json:"kind"`  // "tree", "erofs", "squashfs" or "disk"
	Size   int64      `json:"size"`
	SHA256 string     `json:"sha256"` // lower-case hex
	Chunks ChunkIndex `json:"chunks"`
	// Encryption says that size, hash and chunks are those of the member as it is
	// carried, and what it is once it is decrypted.
	Encryption *Encryption `json:"encryption,omitempty"`
	// Verity is the hash tree that the image ends with; of file systems only.
	Verity *Verity `json:"verity,omitempty"`
}

// Encryption is how an image is kept from those who only carry the package. The
// hashes of both forms are signed: age says nothing about who encrypted.
type Encryption struct {
	Format string `json:"format"` // EncryptionAge
	Size   int64  `json:"size"`   // of the image as flashed
	SHA256 string `json:"sha256"` // likewise
}

// EncryptionAge is the format of age-encryption.org, version 1.
const EncryptionAge = "age"

// ChunkIndex describes the member that lists an image's content-defined chunks.
type ChunkIndex struct {
	SHA256 string `json:"sha256"` // of the index member, lower-case hex
	Count  int    `json:"count"`
}

// App is the contract between a version's application and the agent.
type App struct {
	Exec           []string `json:"exec"` // argv; a relative first word is taken from the slot's root
	Streams        []Stream `json:"streams"`
	Overlap        string   `json:"overlap"`        // "full", "frozen" or "none"
	Greenlight     string   `json:"greenlight"`     // who writes the marker: "app", "operator" or "auto"
	StartTimeoutMS int64    `json:"startTimeoutMs"` // from the start of its process to READY=1 (unless publishRtsp) and a key frame of every stream
	DeadlineMS     int64    `json:"deadlineMs"`     // from the start of the trial to its end without a greenlight
	SoakMS         int64    `json:"soakMs"`         // the new version carries the streams at least so long before it becomes permanent
	StopTimeoutMS  int64    `json:"stopTimeoutMs"`
	WatchdogMS     int64    `json:"watchdogMs,omitempty"` // 0: no watchdog
	RestartMax     int      `json:"restartMax"`           // at most so many restarts …
	RestartWindow  int64    `json:"restartWindowMs"`      // … in this time, then escalate
	// FallbackForMS is how long after it became permanent this version is left for the one
	// before, if it keeps ending. nil: a day; 0: never. A device may say less.
	FallbackForMS *int64   `json:"fallbackForMs,omitempty"`
	PublishRTSP   bool     `json:"publishRtsp,omitempty"` // the app publishes by RTSP: start slipstream-ingest in its slot
	DataMaxMB     int64    `json:"dataMaxMB,omitempty"`   // of the data directory that a trial is given a copy of; 0: 64
	State         *State   `json:"state,omitempty"`
	Listen        []Listen `json:"listen,omitempty"`
	Limits        *Limits  `json:"limits,omitempty"`
	Checks        []Check  `json:"checks,omitempty"`
	// Breaks names streams of the version before whose viewers this one may leave
	// behind: it has them no more, or in another codec, or beyond their profile or
	// picture size. Those who cannot follow are closed with a reason.
	Breaks []string `json:"breaks,omitempty"`
}

// Stream is one declared media line with the envelope that viewers may rely on.
type Stream struct {
	Name    string `json:"name"`              // "main"; a small one for walls of many is "sub"
	Codec   string `json:"codec"`             // "h264", "h265", "mjpeg", "opus", "pcmu", "pcma" or "aac"
	Width   int    `json:"width,omitempty"`   // of a picture
	Height  int    `json:"height,omitempty"`  // likewise
	Profile string `json:"profile,omitempty"` // H.264 profile-level-id, six hex digits
	StallMS int64  `json:"stallMs,omitempty"` // longest silence before a trial is reverted; 0: the device's default
	// Events says that frames come on events only, so that there is no stall limit.
	Events bool `json:"events,omitempty"`
	// Audio names another stream of this version that viewers of this one are given
	// with it: opus or G.711, for RTSP viewers also aac.
	Audio string `json:"audio,omitempty"`
	// Invariants must hold while this version is on trial.
	Invariants []Invariant `json:"invariants,omitempty"`
}

// Invariant bounds one measure of a stream (see package orders of the forwarder).
type Invariant struct {
	Name     string   `json:"name"`
	Measure  string   `json:"measure"` // "frame-rate", "key-interval", "gap", "bitrate", "picture-size" or "drift"
	Against  string   `json:"against"` // "permanent" (a ratio; drift: a difference) or "nothing"
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	WindowMS int64    `json:"windowMs,omitempty"` // 1 000 to 60 000; default 3 000
	Severity string   `json:"severity,omitempty"` // "required" (default): reverts; "wanted": reported
}
