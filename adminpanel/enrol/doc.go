// Package enrol is the panel's door for devices: it gives a certificate to who has a
// token, another one to who shows the old one, and says of every caller which
// device it is.
//
// A token is at e/<id> in the store, by the hash of its secret. It is for one device, or for
// so many of any name, and may put who joins by it at a site and give it tags.
//
// What it keeps: the identity of a caller is its certificate's, and the certificate
// is worth nothing unless its key is that of an enrolled device ([fleet.Fleet.Admit]),
// which is looked up at each handshake, a resumed one too. A token is used up in the commit
// that lets the device in, whichever of several panels on the store it asks, and before
// the certificate leaves the panel. The same device with the same key may ask once more,
// because the answer may have been lost.
//
// What it defends against: a token used twice, late, or for another device; a batch
// token by which somebody would take another device's name, or bring a revoked
// device back; bodies without end; guesses ([maxAsking] at once, and each token has
// 130 bits).
//
// What it does not do: say who may make tokens (package auth), or speak for a fleet: the
// root that it hands out is the operator's.
package enrol
