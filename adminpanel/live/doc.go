// Package live lets people watch devices through their browsers, wherever both are.
//
// A browser's offer (WHEP) goes to the device by its link, and the pictures go from the
// device to the browser: [Direct]. Where they cannot, the device brings the stream to
// the panel by a leg ([wire.Leg]), one however many watch, and the panel fans it out
// ([Relayed]):
//
//	device ──leg: SRTP over UDP, or on the link──▶ here ──RTP──▶ slipstream-forward ──▶ browsers
//	                                     in order, whole pictures     slipstream-gateway ◀── offers
//
// The relay is the forwarder and the gateway of a device, as processes of their own, with
// the leg as what publishes: so browsers get from a panel what they get from a device,
// slow ones delay nobody, pion/webrtc stays behind the gateway's fence, and a crash there
// ends neither the panel nor who watches.
//
// Browsers in networks that let out nothing but TCP reach the relay by TURN ([turn.Server]),
// for which they get credentials that are good for minutes.
//
// What it keeps: a leg costs the device one viewer, ends soon after the last one has
// left, and is asked for anew when it falls silent, as often as somebody watches. Legs
// come by UDP if that works, else by the link; which one did is remembered while the
// stream is watched. What is lost by UDP is asked for again, and what does not come in
// time costs all up to the next key frame: never are single packets left out.
//
// What it defends against: strangers at the port for legs (nothing counts that was not
// sealed with the leg's own key, not even where it came from), a device that brings
// another one's leg, and devices that send faster than the relay takes.
//
// It has room for 32 streams and 256 viewers at once, and tells so whoever comes beyond that: at
// 2 Mbit/s each these viewers take half a Gbit/s of the panel's uplink.
//
// What it does not do: encode anew, or wait for the device in a viewer's request for
// longer than that may take.
//
// Rejected: a port for each leg (firewalls); WebRTC between device and panel (the device
// would have to be the active side of ICE and DTLS, and answers only); sending on SRTP as
// it is (each browser has its own keys).
package live
