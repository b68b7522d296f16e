// Package handover is how the gateway gives an established viewer to the
// forwarder, which from then on alone encrypts, sends and listens to it.
//
// The gateway connects to the forwarder's handover socket (SOCK_SEQPACKET, same
// user only) and sends one JSON message a packet, at most [MaxMessage] bytes. A
// [Viewer] comes with one descriptor by SCM_RIGHTS: a UDP socket that is bound to
// the gateway's port and connected to the viewer. No socket ever has two readers:
// the gateway does not touch it again. The forwarder answers each [Viewer], [Moved]
// and [End] with a message that names its ID: Taken for the first two, an error, or
// [Ended]. It also tells by itself when a viewer has ended.
//
// The connection may end at any time, and a new one takes the place of the one
// before; viewers that were taken stay.
package handover

// MaxMessage bounds one message in bytes, either way.
const MaxMessage = 16 << 10

// Profiles of SRTP (RFC 5764 §4.1.2, RFC 7714 §14.2), by their DTLS names.
const (
	AES128CM = "SRTP_AES128_CM_HMAC_SHA1_80"
	AES128   = "SRTP_AEAD_AES_128_GCM"
	AES256   = "SRTP_AEAD_AES_256_GCM"
)

// Request is one message from the gateway. Exactly one member is set.
type Request struct {
	Viewer *Viewer `json:"viewer,omitempty"`
	Moved  *Moved  `json:"moved,omitempty"`
	End    *End    `json:"end,omitempty"`
}

// Viewer is an established WebRTC session. Nothing was sent on its media keys
// yet, and nobody but the forwarder will.
type Viewer struct {
	ID          string `json:"id"` // the gateway's, unique while the viewer lives
	Stream      string `json:"stream"`
	SSRC        uint32 `json:"ssrc"`
	PayloadType uint8  `json:"payloadType"`
	SRTP        SRTP   `json:"srtp"`
	ICE         ICE    `json:"ice"`
	// Flight is the datagram that ended the DTLS handshake. A viewer that sends
	// handshake records has not received it, and is sent it again as it is.
	Flight []byte `json:"flight,omitempty"`
}

// SRTP holds a session's keys (RFC 5764 §4.2): Local seals what the forwarder
// sends, Remote opens what the viewer sends.
type SRTP struct {
	Profile    string `json:"profile"`
	LocalKey   []byte `json:"localKey"`
	LocalSalt  []byte `json:"localSalt"`
	RemoteKey  []byte `json:"remoteKey"`
	RemoteSalt []byte `json:"remoteSalt"`
}

// ICE holds what it takes to answer a viewer's connectivity and consent checks
// (RFC 8445 §7.3, RFC 7675) as the lite side.
type ICE struct {
	LocalUfrag  string `json:"localUfrag"`
	LocalPwd    string `json:"localPwd"`
	RemoteUfrag string `json:"remoteUfrag"`
}

// Moved says that a known viewer sends valid checks from a new address. It comes
// with a new connected socket in place of the old one.
type Moved struct {
	ID string `json:"id"`
}

// End asks the forwarder to let a viewer go (WHEP DELETE).
type End struct {
	ID string `json:"id"`
}

// Message is one message from the forwarder.
type Message struct {
	Taken string `json:"taken,omitempty"` // ID of a viewer that is served from now on
	Error string `json:"error,omitempty"` // with ID: why a viewer was not taken
	ID    string `json:"id,omitempty"`
	Ended *Ended `json:"ended,omitempty"`
}

// Ended says that a viewer is gone.
type Ended struct {
	ID     string `json:"id"`
	Reason string `json:"reason"` // one of the Ended reasons
	Report Report `json:"report"`
}

// Reasons of [Ended].
const (
	EndedConsent = "consent" // no valid connectivity check for 30 s (RFC 7675)
	EndedClosed  = "closed"  // the viewer said goodbye (RTCP BYE)
	EndedStuck   = "stuck"   // its socket took nothing for seconds
	EndedStream  = "stream"  // the running version no longer has the stream
	EndedAsked   = "asked"   // the gateway sent End
)

// Report is what is known of a viewer's connection.
type Report struct {
	Packets   uint64  `json:"packets"`              // sent, without the resent ones
	Resent    uint64  `json:"resent,omitzero"`      // on the viewer's request
	Refused   uint64  `json:"refused,omitzero"`     // datagrams that were not the viewer's, or not for the forwarder
	Lost      int32   `json:"lost,omitzero"`        // packets, as the viewer's last report says
	JitterMS  float64 `json:"jitterMs,omitzero"`    // likewise
	RoundTrip float64 `json:"roundTripMs,omitzero"` // likewise; 0: not known
}
