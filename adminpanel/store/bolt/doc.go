// Package bolt keeps a panel's store in one file, by bbolt.
//
// Commits that come in while another is on its way to the disk go there together in the
// next transaction: one flush for all of them is what makes the difference between some
// hundred commits a second and some ten thousand. Each of them keeps its own
// conditions and its own revision.
//
// What it keeps: a watcher is fed from a ring of the newest changes, so that a slow one
// costs no memory; one that falls behind the ring has to scan again.
//
// What it defends against: a second panel on the same file, which waits a moment and is
// then refused; and a file of another kind.
//
// Rejected: bbolt's own Batch, which runs a failed condition's transaction again for all.
package bolt
