// Package link is the device's end of the link to its panel.
//
// A device belongs to a panel by its [Identity]: a key that never leaves it, the
// panel's certificate for it, and who vouches for the panel. By that it connects
// outbound, reports the device's status on each change, and carries out what the
// panel asks by calling the same [control.Backend] that the local socket serves; a viewer's WHEP offer goes to the gateway through [Media].
//
// What it keeps: the device does not need the panel. The link may be absent,
// slow, wrong or cut at any moment; nothing on the device waits for it. An ask
// once begun is carried to its end though the link dies meanwhile, because the
// device, not the link, knows when an update is over.
//
// What it defends against: a panel that floods (asks beyond the bounds are
// answered busy, and each kind has bounds of its own: neither slow stages nor
// viewers' offers can crowd out an operator's revert), a panel that names files
// elsewhere (only its own are fetched), somebody who says that he is the panel (at the
// enrolment the token names the panel's authority, later the identity does), a clock
// that is behind (a certificate is never too young), and many devices that return at
// once (each waits any part of a growing pause, or as the panel says).
//
// What is desired of the device ([wire.Desired]) is level-triggered: what the device
// is now is compared with it again and again, and nothing of it is kept. Downloads go
// over the link's own connection ([Identity.RoundTrip]), whose window is so small that
// the lines beside them are never late.
//
// A leg ([wire.Leg]) brings a stream to the panel, for viewers who cannot reach the
// device: the forwarder sends it, over UDP to the panel's own host and nowhere else, or,
// where UDP is blocked, through a request of its own on the link's connection. The panel's
// window for that request, small pieces and a short queue in the kernel keep the lines
// from waiting behind it; a panel that reads too slowly makes the forwarder go on with
// the latest key frame, and nobody on the device notices. Legs end with their link.
//
// An enrolment is prepared aside, with the key first, and put in force by one rename:
// a power cut leaves the device enrolled or not, and a lost answer can be asked for
// again by the same token.
//
// What it does not do: it trusts the panel for nothing about a package.
//
// Rejected: the WHEP address of the gateway told to the panel, which would have
// to reach the device; Go's own check of the panel's certificate (a device
// without a clock would find each new one too young).
package link
