// Package release keeps the packages that a panel offers: it takes uploads that may be
// interrupted, has package verify judge what has arrived, and serves it by ranges.
//
// An upload is begun with its size (up/<id> in the store, incoming/<id> beside it), appended to at
// the offset that it has reached, and finished, which reads the whole file twice: for its SHA-256
// and as a package. Only then it is a release: rel/<id> in the store and ID.slip in the directory,
// where the id is the first half of the file's SHA-256 in hex.
//
// What it keeps: a release that is listed is whole on disk: written, hashed, judged, fsynced and
// renamed before its record exists; a power cut in between leaves a file that nobody lists and that
// the next upload of the same bytes replaces. An id stands for the same bytes for ever. An
// upload's offset is what is on disk and flushed, so it is right after any crash.
//
// What it defends against: uploads without end (of one, of all, and those that nobody goes on with),
// a full disk (said before the upload begins), two who append to one upload at a time (a lock on
// its file), names that would leave the directory, and packages that fail verification: those are
// dropped, and the attempt is in the audit log.
//
// A release says where a public log has its signatures, if package verify has checked that: in
// programs built with the tag keyless, of signatures by an identity. Keys' signatures are in none.
//
// With several panels on one store the directory must be one that they share; locks are those of the
// file (flock), which network file systems keep too.
//
// What it does not do: say which devices a release is for, or sign orders. A release that is withdrawn
// is not offered any more and keeps its file: the same bytes uploaded again bring it back.
//
// Rejected: parts of an upload as values of the store (it holds megabytes, not gigabytes);
// hashing while bytes arrive (the state of a hash would have to survive a crash as well).
package release
