// Package adminpanel is the panel: devices link to it, people look at them
// through its page and bring releases to them.
//
// Its parts: hub holds the devices' links, enrol lets devices in, ca is the
// certificate authority by which they and the panel know each other, shelf remembers,
// api is the HTTP interface, ui the page, live brings pictures to those who cannot reach
// a device. People and devices have an address each.
//
// Parts of a larger panel stand beside them, tested and not in use yet: store keeps
// things in a file or in a cluster, fleet finds and counts devices, rollout brings
// releases to them in waves, release takes uploads, auth knows who calls, audit chains
// what they did, and settings, config and view are what their names say. They take the
// place of shelf and of today's page ([ui.Next]) when the API speaks their language.
//
// What it keeps: the panel may stop at any moment; devices go on without it and
// nothing about an update depends on its being there.
//
// What it defends against: it has no logins yet, so it listens for people on the
// loopback only ([Listen]), takes no request that a foreign web page makes (by
// Sec-Fetch-Site and Origin, and by the Host header against DNS rebinding), and
// its page runs no script but its own.
//
// What it does not do: judge for a device whether a package may run there.
//
// Rejected: listening elsewhere behind a flag "I know what I do"; until there
// are logins a tunnel (ssh -L) is the way in from afar.
package adminpanel
