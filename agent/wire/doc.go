// Package wire is the protocol between a device and its panel.
//
// The device opens one HTTP/2 stream, outbound, and keeps it:
//
//	device                                              panel
//	  │  POST /v1/link   Authorization: Bearer TOKEN      │
//	  │ ─────────────────────────────────────────────────▶│
//	  │                                 200, stream open  │
//	  │ ◀─────────────────────────────────────────────────│
//	  │  {"hello":{"device":"cam-1"}}                     │
//	  │ ─────────────────────────────────────────────────▶│
//	  │  {"status":{…control.Status…}}   on each change   │
//	  │ ─────────────────────────────────────────────────▶│
//	  │  {"ask":{"id":7,"stage":{"url":"/v1/releases/…"}}}│
//	  │ ◀─────────────────────────────────────────────────│
//	  │  {"answer":{"id":7,"result":{…control.Result…}}}  │
//	  │ ─────────────────────────────────────────────────▶│
//	  │  {"ping":{}}  from both ends, each [PingEvery]    │
//	  │ ◀────────────────────────────────────────────────▶│
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
// decides; a device speaks only for the name its token stands for.
//
// Rejected: one ping with an echo (each end proves itself with its own pings,
// and nobody keeps outstanding ones); a length-prefixed binary frame (a line
// can be read by curl and by people).
package wire
