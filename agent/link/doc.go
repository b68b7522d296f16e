// Package link is the device's end of the link to its panel.
//
// It connects outbound, reports the device's status on each change, and carries
// out what the panel asks by calling the same [control.Backend] that the local
// socket serves; a viewer's WHEP offer goes to the gateway through [Media].
//
// What it keeps: the device does not need the panel. The link may be absent,
// slow, wrong or cut at any moment; nothing on the device waits for it. An ask
// once begun is carried to its end though the link dies meanwhile, because the
// device, not the link, knows when an update is over.
//
// What it defends against: a panel that floods (asks beyond the bounds are
// answered busy, and each kind has bounds of its own: neither slow stages nor
// viewers' offers can crowd out an operator's revert), a panel that names files
// elsewhere (only its own are fetched), a token sent in clear (plain HTTP only to
// this machine), and many devices that return at once (each waits a random part
// of a growing pause).
//
// What it does not do: it trusts the panel for nothing about a package.
//
// Rejected: the WHEP address of the gateway told to the panel, which would have
// to reach the device; carrying media.
package link
