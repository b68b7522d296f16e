// Package api is the panel's HTTP interface, the only door to it: the page, the
// scripts and the demo use the same routes.
//
//	GET    /api/devices                        every device that is enrolled or was met
//	GET    /api/devices/ID
//	GET    /api/devices/ID/history             asked of the device itself
//	POST   /api/devices/ID/stage               {"release":ID,"force":BOOL}
//	POST   /api/devices/ID/activate            {"force":BOOL}
//	POST   /api/devices/ID/greenlight
//	POST   /api/devices/ID/revert
//	POST   /api/devices/ID/whep/STREAM         SDP offer → 201, SDP answer, Location;
//	                                           ?via=panel: the pictures pass the panel
//	DELETE /api/devices/ID/whep/STREAM/SESSION
//	GET    /api/releases
//	POST   /api/releases                       the bytes of a .slip file
//	GET    /api/audit
//	GET    /api/events                         server-sent events: snapshot, device, releases, beat
//	GET    /v1/releases/ID                     for devices, at their own address; ranges
//
// The four verbs answer 202 as soon as the ask is on its way; what became of it
// is the device's "asked" in the events. With ?wait=30s they answer 200 and the
// outcome if it came in that time.
//
// What it keeps: an error is application/problem+json (RFC 9457) with a stable
// code; a refusal by the device is not an error of the panel and comes with the
// device's own words. Every verb that was accepted has an audit line when it was
// asked and another when it was answered.
//
// What it defends against: bodies without end, uploads and readers that stall,
// packages that the panel's own keys do not vouch for (if it was given keys).
//
// What it does not do: logins. Package adminpanel therefore serves it on the
// loopback only and checks where requests come from.
package api
