// Package store keeps what the panel must still know after a restart: the
// devices it has met, the releases it offers, and who did what.
//
// Under one directory:
//
//	panel.db          bbolt: buckets device, release, audit; JSON values
//	releases/ID.slip  the packages, named by the first half of their SHA-256
//	incoming/         uploads under way; emptied at start
//	tokens/DEVICE     SHA-256 of the device's token, in hex
//
// What it keeps: a release that is listed is whole on disk (written, hashed,
// fsynced and renamed before its record exists), and an ID always stands for the
// same bytes. Tokens are files of their own, so that an operator can make one
// while the panel runs and holds the database.
//
// What it defends against: a disk copied by somebody (no token can be read from
// it), guessing by time (hashes are compared in constant time), uploads without
// end, and names that would leave the directory.
//
// What it does not do: presence, which belongs to the hub, and judging packages,
// which the caller does through package verify before a release is listed.
//
// Rejected: bcrypt or argon2 for tokens. They slow down the guessing of words
// that people choose; a token is 32 random bytes.
package store
