// Package shelf keeps what the panel must still know after a restart: the
// devices it has met, the releases it offers, and who did what.
//
// Under one directory:
//
//	panel.db          bbolt: buckets device, release, audit; JSON values
//	releases/ID.slip  the packages, named by the first half of their SHA-256
//	incoming/         uploads under way; emptied at start
//	tokens/ID         an enrolment token: SHA-256 of its secret, who used it; JSON
//	enrolled/DEVICE   a device that may call: SHA-256 of its public key; JSON
//
// What it keeps: a release that is listed is whole on disk (written, hashed,
// fsynced and renamed before its record exists), and an ID always stands for the
// same bytes; a token is used up on disk before anybody gets something for it. Tokens
// and enrolled devices are files of their own, so that an operator can make one, and
// revoke the other, while the panel runs and holds the database.
//
// What it defends against: a disk copied by somebody (no token can be read from
// it), guessing by time (hashes are compared in constant time), uploads without
// end, and names that would leave the directory.
//
// What it does not do: presence, which belongs to the hub, and judging packages,
// which the caller does through package verify before a release is listed.
//
// Rejected: bcrypt or argon2 for tokens. They slow down the guessing of words
// that people choose; a token has 130 random bits. A list of revoked serial numbers:
// it grows for ever, and a device has one key and any number of certificates over it.
package shelf
