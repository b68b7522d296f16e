// Package order is the fleet's second word: besides the vendor's signature a device that
// belongs to a fleet needs the fleet's order for a package, which is signed here.
//
//	releaser ──▶ [Orders.Sign] ──▶ ord/<release> in the store ──▶ [Orders.For] ──▶ link
//	                                                          └──▶ [Orders.File], [Orders.Package] ──▶ USB stick
//
// What is signed for people is for devices by name or for all of the fleet, and adds to what
// holds for the release already. Each device gets an order of its own made of that when it
// is asked to take the release. Orders are numbered over the whole fleet (meta/order), and
// devices refuse numbers below the newest that they have obeyed; so an order to a device
// always has a new number. Panels take numbers by the thousand, and give up what they have
// left when another one has taken some.
//
// Keys are rotated by the fleet's root, which is not at the panel: the next root names the
// next key, and the panel is given both keys and all roots. It signs by every key that one
// of the roots names, so that devices which have not heard of the newest root obey as well,
// and the newer roots ([Newer]) go to each device at the beginning of its link, and into packages.
//
// What it keeps: no order is written that a device under the newest root would refuse; a
// change of orders is committed with the release's record and the audit line.
//
// What it defends against: an operator who would bring a release to devices that nobody
// with the right has ordered it for, and a vendor's key alone.
//
// What it does not do: judge who may sign (package api), or make roots and keys
// (slipstream-pack).
//
// Rejected: one order for all devices of a release, sent as it is (a device that has obeyed
// a later one for another release would refuse it); numbers by the clock (panels' clocks
// differ, and a number from one that was years ahead for a minute would be obeyed for ever).
package order
