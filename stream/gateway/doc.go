// Package gateway lets viewers in: WHEP for browsers, RTSP for everything else.
//
// It promises that a viewer's session outlives everything behind it. Each viewer
// is one subscription to the forwarder ([slipstream/stream/subscribe]), begins
// with a key frame, and gets packets whose sequence numbers and times go on over
// every switch, revert and restart of the forwarder. One viewer cannot delay
// another: a slow one is disconnected. The gateway keeps nothing on disk and may
// crash or be replaced; its own viewers then have to come back, the forwarder and
// the update that it watches do not notice.
//
// It defends against offers, requests and paths from strangers: each is bounded,
// checked before it reaches a library, and refused with one sentence. It does not
// ask who the viewer is and lets any web page play: bind it to an address that
// only viewers can reach.
//
// # What pion/webrtc v3 means
//
// WHEP is built on pion/webrtc v3.3.6, the last version of its line; fixes land in
// v4. No other package but the test rig imports it, and only peer.go uses it here,
// so that v4 is a change of one file. These advisories are not fixed in v3, and
// govulncheck names them; each is kept out of reach:
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
//     build with 0.1.29 and use its NACK responder alone.
//
// Two more doors are shut: a viewer's candidates are taken out of its offer, since
// ICE-lite never calls on them and pion would dial the TCP ones, and mDNS is off.
// v3 does not heed a DTLS close either: a viewer that leaves without DELETE is
// noticed when ICE times out. And as DTLS server v3 takes the viewer's favourite
// SRTP cipher, not ours: Chromium asks for AES-CM first, which costs several times
// the CPU of AES-GCM. Offering GCM alone would shut out viewers that lack it.
//
// # Rejected
//
// Candidates by pion: it knows the addresses that the device had at its start, and
// one mapped address a family, while a camera may be known by several; an ICE-lite
// answer only has to list them. Sender reports
// by pion and gortsplib: both extrapolate from the last packet, which a replay has
// sent late; ours come from the capture clock. A subscription shared by a stream's
// RTSP readers: each reader would wait for the next key frame.
package gateway
