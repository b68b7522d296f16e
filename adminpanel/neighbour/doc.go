// Package neighbour reaches devices that are linked to another panel on the same store, so that
// people see and watch the same fleet at each of them.
//
// What is wanted of a device goes to the panel that has its link, and the answer comes back, by
// two keys of the store that both delete:
//
//	far/<panel>/<word>/ask      by who asks, for the panel of that name
//	far/<panel>/<word>/answer   by that panel, in the commit that takes the ask away
//
// An ask is one of the link (history, WHEP), or for the device's newest status. What changes
// a device goes by the panel that leads (package drive) and not here.
//
// What it keeps: an ask is carried out once or not at all; one whose asker waits no more is not
// answered; one that a panel finds when it starts is dropped, and its asker told. All waits
// are bounded. A status is asked for once a second and device at most, however many look.
//
// What it defends against: nothing. Who may do what was decided by who asks, and panels on
// one store trust each other in everything.
//
// Pictures that go through a panel go through that of the device's link ([Far]): its relay answers
// the browser's offer, and sends from its own addresses. What this panel's viewers are told of a
// server for ICE is that panel's, if its configuration says where browsers find it.
//
// What it does not do: bring pictures here from a device at another panel ([ErrElsewhere]): they
// would go twice through the network for nothing.
//
// Rejected: requests from panel to panel, which would need addresses, certificates and firewalls
// for what is asked some times a minute; to send people's browsers to the other panel, which
// may be behind the same name.
package neighbour
