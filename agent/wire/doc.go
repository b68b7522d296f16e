// Package wire is the protocol between a device and its panel.
//
// A device enrols once, by a [Token], and from then on shows a certificate:
//
//	POST /v1/enroll   EnrollRequest → Enrollment     TLS, the panel known by the token's pin
//	POST /v1/renew    RenewRequest  → Enrollment     mutual TLS
//	POST /v1/link     lines both ways                mutual TLS, HTTP/2
//	GET  /v1/releases/ID   a package, by ranges      mutual TLS, on the link's connection
//	POST /v1/leg/ID        packets both ways         mutual TLS, on the link's connection
//
// A refusal of the first two and of a package is a [Problem]. The certificate's one URI,
// slipstream:device:ID, says who calls; nothing that a caller says of himself does.
//
// The device opens one link, outbound, and keeps it:
//
//	device                                              panel
//	  │  POST /v1/link                                    │
//	  │ ─────────────────────────────────────────────────▶│
//	  │                                 200, stream open  │
//	  │ ◀─────────────────────────────────────────────────│
//	  │  {"hello":{"device":"cam-1","protocol":1,…}}      │
//	  │ ─────────────────────────────────────────────────▶│
//	  │  {"status":{…control.Status…}}   on each change   │
//	  │ ─────────────────────────────────────────────────▶│
//	  │  {"authorities":{"certificates":[…]}}             │
//	  │ ◀─────────────────────────────────────────────────│
//	  │  {"desired":{"epoch":7,"live":{"digest":…}}}      │
//	  │ ◀─────────────────────────────────────────────────│
//	  │  {"report":{"epoch":7,"state":"staged"}}          │
//	  │ ─────────────────────────────────────────────────▶│
//	  │  {"ask":{"id":7,"activate":{"epoch":7}}}          │
//	  │ ◀─────────────────────────────────────────────────│
//	  │  {"answer":{"id":7,"result":{…control.Result…}}}  │
//	  │ ─────────────────────────────────────────────────▶│
//	  │  {"ping":{}}  from both ends, each [PingEvery]    │
//	  │ ◀────────────────────────────────────────────────▶│
//	  │  {"leave":{"pauseMs":30000}}  before the panel    │
//	  │ ◀───────────────────────────────  ends the link   │
//
// Both ways carry lines: one JSON object and a newline, at most [MaxLine]
// bytes. Exactly one member of [Up] or [Down] is set.
//
// What it keeps: devices and panels of different age understand each other.
// A line whose member is unknown is ignored, a member's unknown fields are
// tolerated, and an ask that the device does not know is answered with
// [CodeUnknownAsk], so the panel never waits for nothing. Fields are only added.
//
// What it defends against: a peer that sends endless lines (they are bounded
// before they are read whole), and a peer that is gone while TCP still hopes:
// each end sends at least a ping per [PingEvery] and gives up on a link that
// was silent for [SilenceLimit].
//
// What it does not do: it gives no authority. The panel may ask a device to
// stage any file of the panel's, and the device's own package verification
// decides; a device speaks only for the name in its certificate.
//
// Rejected: one ping with an echo (each end proves itself with its own pings,
// and nobody keeps outstanding ones); a length-prefixed binary frame (a line
// can be read by curl and by people); moments by the wall clock (a device's may be
// years off).
package wire
