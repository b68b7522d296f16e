package wire

import (
	"errors"
	"fmt"
	"regexp"
)

// LegPath, with "/" and a leg's name behind it, is where a device brings a leg that
// does not come by UDP: the body of the request is the leg from the device, that of the
// answer the way back. Each packet stands behind its length, two bytes (RFC 4571).
const LegPath = "/v1/leg"

// MaxLegs is how many legs a device has at once, one for each of its streams.
const MaxLegs = 8

// Windows that a panel opens for what comes on a link's connection. What of a leg the
// panel has not read counts against its own, so that all legs together leave room for
// the lines, and against the time for which a line waits behind it: 8 s at 128 kbit/s.
const (
	LegWindow  = 128 << 10
	LinkWindow = 2 << 20 // for MaxLegs of them, and as much again
)

// Leg asks the device to bring a stream to its panel, for viewers who cannot reach
// the device. For the forwarder it is one more viewer, with the panel's keys. It ends
// with the link, when the panel says so, or when the panel's checks (ICE, RFC 7675) did
// not come for 30 s. Another leg of the same stream takes its place.
type Leg struct {
	ID     string `json:"id"` // used once
	Stream string `json:"stream"`
	// UDP is the port at the panel's own host to which packets go; 0: they go by
	// [LegPath].
	UDP int `json:"udp,omitempty"`
	// SSRC is that of the picture; its sound, if there is some, has the next one.
	SSRC uint32 `json:"ssrc"`

	// Keys of SRTP (AES-128-GCM: 16 bytes, and 12 of salt): of what the device sends,
	// and of what the panel sends.
	DeviceKey  []byte `json:"deviceKey"`
	DeviceSalt []byte `json:"deviceSalt"`
	PanelKey   []byte `json:"panelKey"`
	PanelSalt  []byte `json:"panelSalt"`

	// Checks of the panel are made with these.
	DeviceUfrag string `json:"deviceUfrag"`
	DevicePwd   string `json:"devicePwd"`
	PanelUfrag  string `json:"panelUfrag"`
}

// EndLeg ends a leg. One that is gone is what was asked for.
type EndLeg struct {
	ID string `json:"id"`
}

// LegAnswer says what a leg carries: a picture, and perhaps its sound.
type LegAnswer struct {
	Tracks []LegTrack `json:"tracks"`
}

// LegTrack is one stream of a leg, as the version that is permanent declares it.
type LegTrack struct {
	Stream      string `json:"stream"`
	Codec       string `json:"codec"` // "h264", "h265", "opus", "pcmu" or "pcma"
	Profile     string `json:"profile,omitempty"`
	Width       int    `json:"width,omitempty"`
	Height      int    `json:"height,omitempty"`
	SSRC        uint32 `json:"ssrc"`
	PayloadType uint8  `json:"payloadType"`
}

// Sizes of keys, and of what stands in checks (RFC 8839 §5.4).
const (
	LegKey, LegSalt    = 16, 12
	minUfrag, maxUfrag = 4, 256
	minPwd             = 22
)

var legID = regexp.MustCompile(`^[A-Za-z0-9]{8,64}$`)

// IsLegID says whether a leg can have that name.
func IsLegID(id string) bool { return legID.MatchString(id) }

// Check says what is wrong with the ask for a leg.
func (l *Leg) Check() error {
	between := func(text string, least int) bool { return len(text) >= least && len(text) <= maxUfrag }
	switch {
	case !IsLegID(l.ID):
		return fmt.Errorf("%.70q cannot be the name of a leg", l.ID)
	case l.UDP < 0 || l.UDP > 65535:
		return fmt.Errorf("%d is no port", l.UDP)
	case len(l.DeviceKey) != LegKey || len(l.PanelKey) != LegKey || len(l.DeviceSalt) != LegSalt || len(l.PanelSalt) != LegSalt:
		return errors.New("the leg's keys are not of AES-128-GCM")
	case !between(l.DeviceUfrag, minUfrag) || !between(l.PanelUfrag, minUfrag) || !between(l.DevicePwd, minPwd):
		return errors.New("the leg's names and password for checks are too short or too long")
	}
	return nil
}
