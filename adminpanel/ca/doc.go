// Package ca is the panel's own certificate authority: it vouches for the panel to
// its devices, and for the devices to the panel.
//
// Under one directory, each file with mode 0600:
//
//	N/root.key     ECDSA P-256, PKCS#8 as PEM; N counts the generations
//	N/root.pem     its certificate, 20 years
//	N/issuing.key  what signs day by day
//	N/issuing.pem  its certificate by the root, 10 years
//
// A generation appears whole, by the rename of its directory, and is never changed.
// The root's key can be kept elsewhere: a generation without it works.
//
// Panels that share a store share their authority too ([OpenStore]): there a generation is
// the same four texts at ca/N, in one value. So whoever reads such a store can speak for
// the panels, as whoever reads the directory can; the cluster's own TLS and accounts
// keep others away.
//
// # Rotation
//
// The newest generation signs devices' certificates; the oldest signs the panel's.
// So a device that knows one of them always knows the panel. [Authority.Rotate] adds
// a generation: devices hear of it by their links and renew; those that enrol know
// both. [Authority.Retire] drops the oldest, when every device has called since.
//
// # What it keeps
//
// A device's certificate is for a client and for one name, is good for a year, and
// carries nothing that the device asked for but its key. Clocks that are behind do
// not matter: certificates begin a day before they are made.
//
// # What it does not do
//
// It does not know who may have a certificate (package enrol), and has no list of
// revoked ones: the key of each device that may call is asked for at every handshake.
//
// Rejected: one key for both (to replace the one that signs day by day, every device
// would have to hear of it); RSA and Ed25519 (devices' stacks and key stores have
// P-256); a serial number that counts (two panels would have to agree); the keys in the file
// of a panel that is alone (it is copied as a backup, and commands could not rotate them
// while the panel has it open).
package ca
