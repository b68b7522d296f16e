// Package handover is how the gateway gives an established viewer to the
// forwarder, which from then on alone encrypts, sends and listens to it.
//
// The gateway connects to the forwarder's handover socket (SOCK_SEQPACKET, same
// user only) and sends one JSON message a packet, at most [MaxMessage] bytes, with
// descriptors attached by SCM_RIGHTS. No socket ever has two readers: the gateway
// does not touch again what it has sent.
//
//	Describe   what a stream is → Described or Error
//	Viewer     an established WebRTC session; one descriptor: a UDP socket that is
//	           bound to the gateway's port and connected to the viewer → Taken or Error
//	Player     an RTSP session at its PLAY; the TCP connection, and for RTP over UDP
//	           then two connected UDP sockets (RTP, RTCP) for each track → Taken or Error
//	Moved      a known WebRTC viewer has a new address, and a new socket in place of
//	           the old one; or new credentials of ICE; or both → Taken or Error
//	Reply      the answer to a request that the forwarder passed on (Asked)
//	End        let a viewer go → Ended
//
// To a gateway that connects, the forwarder first tells each viewer that it has
// (Known), then says Listed. It tells by itself when a viewer has ended, and passes
// on the RTSP requests of a player that are not its own to answer (Asked); those
// are OPTIONS, GET_PARAMETER, SET_PARAMETER and TEARDOWN.
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
	Describe *Describe `json:"describe,omitempty"`
	Viewer   *Viewer   `json:"viewer,omitempty"`
	Player   *Player   `json:"player,omitempty"`
	Moved    *Moved    `json:"moved,omitempty"`
	Reply    *Reply    `json:"reply,omitempty"`
	End      *End      `json:"end,omitempty"`
}

// Describe asks what viewers of a stream are given.
type Describe struct {
	ID     string `json:"id"` // names the answer
	Stream string `json:"stream"`
}

// Described answers Describe: the stream, and then the audio that goes with it.
type Described struct {
	Streams []Stream `json:"streams"`
}

// Stream is one stream as its viewers may rely on it.
type Stream struct {
	Name    string `json:"name"`
	Codec   string `json:"codec"`             // as in package orders
	Width   int    `json:"width,omitempty"`   // declared; 0: any
	Height  int    `json:"height,omitempty"`  // likewise
	Profile string `json:"profile,omitempty"` // declared profile-level-id of H.264; "": none
	SDP     string `json:"sdp"`               // of the line that is followed now
}

// Track is one stream of a viewer.
type Track struct {
	Stream      string `json:"stream"`
	SSRC        uint32 `json:"ssrc"`
	PayloadType uint8  `json:"payloadType"`
	Channel     uint8  `json:"channel,omitempty"` // RTSP over TCP: of RTP; RTCP has the next one
	Seq         uint16 `json:"seq,omitempty"`     // RTSP: sequence number of the first packet
	// Codec and Profile are those of [Stream] to which the viewer has agreed. It is
	// refused if the stream is beyond them by now, and closed when it goes there.
	Codec   string `json:"codec,omitempty"`
	Profile string `json:"profile,omitempty"`
}

// MaxTracks: a picture and its sound.
const MaxTracks = 2

// Player is an RTSP session whose PLAY is granted but not yet answered.
type Player struct {
	ID      string  `json:"id"`
	Session string  `json:"session"` // session identifier (RFC 2326 §3.4)
	Tracks  []Track `json:"tracks"`
	UDP     bool    `json:"udp,omitempty"` // false: interleaved
	// TimeoutMS is how long a viewer over UDP may send neither a request nor RTCP.
	TimeoutMS int64  `json:"timeoutMs"`
	Reply     []byte `json:"reply"`            // to PLAY; the forwarder writes it before the first packet
	Unread    []byte `json:"unread,omitempty"` // what came on the connection behind PLAY
}

// Reply is the gateway's answer to Asked, byte for byte.
type Reply struct {
	ID    string `json:"id"`
	Reply []byte `json:"reply"`
}

// Viewer is an established WebRTC session. Nothing was sent on its media keys
// yet, and nobody but the forwarder will.
type Viewer struct {
	ID     string  `json:"id"` // the gateway's, unique while the viewer lives
	Tracks []Track `json:"tracks"`
	SRTP   SRTP    `json:"srtp"`
	ICE    ICE     `json:"ice"`
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

// Moved says that a known viewer sends valid checks from a new address, if a
// socket comes with it, and that ICE was restarted, if it has new credentials.
type Moved struct {
	ID  string `json:"id"`
	ICE *ICE   `json:"ice,omitempty"`
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

	Described *Described `json:"described,omitempty"` // with ID
	Asked     *Asked     `json:"asked,omitempty"`
	Known     *Known     `json:"known,omitempty"`
	Listed    bool       `json:"listed,omitempty"` // all that are known were told
	// NotFound is set beside Error when no version has a stream of that name; else
	// the stream is declared and has no source yet.
	NotFound bool `json:"notFound,omitempty"`
}

// Asked passes on an RTSP request of a player, which waits for the Reply. Without
// a gateway the forwarder answers such a request with 503 by itself.
type Asked struct {
	ID      string `json:"id"`
	Request []byte `json:"request"`
}

// Known is a viewer that the forwarder has from an earlier gateway.
type Known struct {
	ID     string `json:"id"`
	Stream string `json:"stream"` // of its first track
	Kind   string `json:"kind"`   // KindWHEP, KindRTSP or KindLeg
	// Address is the viewer's, IP:port.
	Address string `json:"address"`
	ICE     *ICE   `json:"ice,omitempty"` // of a WebRTC viewer
}

// Kinds of viewers.
const (
	KindWHEP = "whep"
	KindRTSP = "rtsp"
	KindLeg  = "leg"
)

// Ended says that a viewer is gone.
type Ended struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`           // one of the Ended reasons
	Detail string `json:"detail,omitempty"` // a sentence for people, if there is one to tell
	Report Report `json:"report"`
}

// Reasons of [Ended].
const (
	EndedConsent = "consent" // no valid connectivity check for 30 s (RFC 7675)
	EndedClosed  = "closed"  // the viewer said goodbye (RTCP BYE)
	EndedStuck   = "stuck"   // its socket took nothing for seconds
	EndedStream  = "stream"  // the running version no longer has the stream, or not as the viewer can play it
	EndedAsked   = "asked"   // the gateway sent End, or the viewer TEARDOWN
	EndedSilent  = "silent"  // an RTSP viewer over UDP was not heard of for its timeout
	EndedBroken  = "broken"  // what it sent was no RTSP
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
