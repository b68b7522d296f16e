// Package gateway lets viewers in: WHEP for browsers, RTSP for everything else.
//
// It promises that viewers notice no update, and not even its own end, except for
// those over RTSPS. It keeps nothing on disk and may crash or be replaced at any time.
//
// It defends against offers, fragments, requests, paths and datagrams from strangers:
// each is bounded, checked before it reaches a library, and refused, requests with one
// sentence, and counted. A viewer shows who it is, unless the device is public: see
// package viewers for who may, a bearer token (WHEP) or a digest (RTSP) for how. An
// address that is wrong too often has to wait. Web pages play if their origin may: by
// default all when the device is public, else those of its own host.
//
// # WHEP viewers
//
// They begin here and are soon the forwarder's ([slipstream/stream/handover]):
//
//	offer ─▶ answer ─▶ checks, DTLS handshake ─▶ hand-over ─▶ the forwarder sends
//	                       (WebRTC's library)     keys and     and listens; here is
//	                                              a socket     a session that waits
//
// All begin on one UDP port. When a viewer's handshake is done, a second socket is
// bound to the port (SO_REUSEPORT), connected to the viewer, and passed to the
// forwarder with the media keys. From its connection on the kernel puts there what
// comes from the viewer; what came between the bind and the connection, which may
// be anybody's, is taken out and treated as if it had come to the port. No socket
// ever has two readers.
//
// A key has one writer: WebRTC's library has no interceptors, is never given a
// packet of media, and is cut off and closed without a word before the forwarder
// may send. The forwarder also gets the datagram that ended the handshake, since
// the viewer may not have received it and asks nobody else now.
//
// A viewer is given a stream, and the sound that belongs to it if it wants and knows
// its codec, only in a format in which it can decode all that the stream declares,
// whatever is sent just now. What it lacks it is told (406). So no update that stays
// within the declaration can leave a viewer behind.
//
// The port answers the checks that a known viewer sends from other addresses, and
// if the viewer nominates one, or its port changed, passes a socket for that. A
// viewer that restarts ICE (PATCH) is given new credentials, which the forwarder has
// before it. A viewer's DTLS goodbye reaches nobody; the forwarder hears an RTCP one,
// or nothing for 30 s. DELETE ends a viewer there and then. A viewer that the forwarder
// ends for a reason, because the version that runs now sends what it has not agreed to,
// is told so by a BYE, and by the answer to whatever it asks of its session: 410.
//
// A new gateway is told by the forwarder whom it has. They are sessions like others
// from then on: they count, can be deleted and restarted, and are followed. A session
// whose end nobody could tell is noticed by its absence from that list. While the
// forwarder is away its viewers are kept in the books for 30 s, and offers wait a
// second for the next one. A viewer whose handshake is done when the forwarder is
// away, or refuses, is told by the connection's end.
//
// Of the draft (draft-ietf-wish-whep) it does not have: extensions and servers for
// STUN and TURN, hence no Link headers; HTTPS, which is a proxy's. A stream without a
// source is 503, not 409: it is the device's state and no conflict.
//
// # Limits
//
// Viewers, half-open handshakes, connections and requests are counted, all and by
// address (of IPv6: by network). Whoever is beyond a limit is refused, except that the
// oldest half-open handshake makes place for a new one once it is two seconds old. The
// device itself, which is the agent or a proxy, has no limits of its own by WHEP. At the UDP
// port nothing but checks that know a viewer's password gets through from an address
// that has not sent such a check; all the rest is counted by what became of it. A flood
// of more than the port can read delays handshakes; who has been handed over has a
// socket of its own and notices nothing.
//
// It does not defend against someone who records a viewer's check on the way and
// sends it again from elsewhere: the pictures, which are encrypted, go there until the
// viewer's next check.
//
// # RTSP viewers
//
// They begin here, with RFC 2326 as far as live viewers need it, and are the
// forwarder's from PLAY on:
//
//	OPTIONS, DESCRIBE ─▶ SETUP ─▶ PLAY ─▶ hand-over ─▶ the forwarder answers PLAY,
//	                     a place  (digest)  the TCP      sends, and listens; what it
//	                     and UDP            connection,  cannot answer it asks here
//	                     sockets            its sockets
//
// The forwarder gets a descriptor of the TCP connection, over UDP two connected
// sockets for each track, the answer to PLAY, and what came behind it. Our descriptor
// is closed without a word, and nobody here reads or writes again. When the forwarder
// leaves open whether it took the viewer, the connection is dropped: two might write.
//
// A connection has 30 s until it plays, half of that between two requests, 4 KiB for
// a request, and holds one session. Over UDP packets go to the address of the TCP
// connection only; behind a translation of ports a viewer has to use TCP.
//
// RTSPS is the same, except that a viewer stays: TLS has its state here. Each track is
// a subscription to the forwarder ([slipstream/stream/subscribe]), which survives the
// forwarder's restart; a slow viewer misses whole groups of pictures, and one that
// takes nothing for five seconds is disconnected. They end with the gateway.
//
// A digest is good for one connection and 20 s, by MD5 because ffmpeg and GStreamer
// know nothing else, or by SHA-256. Basic credentials are taken over TLS alone.
//
// # What pion/webrtc v3 means
//
// WHEP is built on pion/webrtc v3.3.6, the last version of its line; fixes land in
// v4. No other package but the test rig imports it, and here only peer.go and
// keys.go use it. It shows nobody the keys of the media, so keys.go reads a field
// of its inside; a gateway that was built with another version says so at its start.
// These advisories are not fixed in v3, and govulncheck names them; each is kept
// out of reach:
//
//   - CVE-2026-26014 (dtls/v2: random 64-bit nonces for AES-GCM records). Media is
//     not affected: SRTP's nonces are counted. A session without data channels
//     seals two or three DTLS records, too few for a nonce to repeat. Therefore an
//     offer with a data channel is refused.
//   - CVE-2026-54908, GHSA-wg4g-wm44-ch5j (dtls/v2: a client panics at a malformed
//     ECDHE_PSK key exchange). We are always the DTLS server. An offer with
//     a=setup:passive would make us the client, so it is refused.
//   - GHSA-34rh-wp3j-6cxc (stun v0.6.1: panic at a malformed XOR-MAPPED-ADDRESS).
//     Only answers of STUN and TURN servers are parsed for it: we have none of
//     these, are ICE-lite, and use the plain UDP mux.
//   - GHSA-f26w-gh5m-qq77 (interceptor 0.1.36 to 0.1.38: crash at RTP padding). We
//     build with 0.1.29 and use none.
//
// Two more doors are shut: a viewer's candidates are taken out of its offer, since
// ICE-lite never calls on them and pion would dial the TCP ones, and mDNS is off.
// As DTLS server v3 takes the first of the viewer's ciphers for media that the
// server knows, and Chromium names AES-CM first, which costs several times the CPU
// of AES-GCM. So the viewer's hello is read before v3 does, and v3's list cut to
// the best cipher that is in both; viewers that know AES-CM alone get that.
//
// # Rejected
//
// The level of H.264 as a limit from 3.1 on: all browsers offer 3.1 and decode far
// more, so a camera of 1080p would have no viewers. Candidates by pion: it knows the
// addresses that the device had at its start, and one mapped address a family, while
// a camera may be known by several; an ICE-lite answer only has to list them. Sender
// reports by pion and gortsplib: both extrapolate from the last packet, which a replay
// has sent late; ours come from the capture clock. gortsplib's server for RTSP: its
// sessions cannot leave it; its messages and headers are used. RTSP through HTTP, and
// multicast: nobody asked. TLS in the kernel, to hand over RTSPS too: it needs a module
// that cameras lack, and the forwarder would have to know TLS's alerts. The media keys
// by way of SetDTLSKeyLogWriter: it is public, but gives the master secret only, and the
// rest would have to be read from the handshake's datagrams; dtls.Resume in the
// forwarder, to hear a viewer's goodbye: it drags DTLS and its flaws in there.
package gateway
