// Package backup writes what a store holds, and the files beside it, into one file, and fills an
// empty store from one; both may be of either kind, so it is also the way from one to the other.
//
// The file is lines of JSON. The first says what it is, the last how many lines there were and the
// SHA-256 of all bytes before it:
//
//	{"format":"slipstream-panel-backup","version":2,"schema":1,"at":"…"}
//	{"key":"d/cam-1","value":"…base64…"}
//	…
//	{"key":"d/cam-7","deleted":true}
//	{"file":"ca/1/root.key","value":"…"}
//	{"end":true,"lines":1234,"sha256":"…"}
//
// First come all keys as a scan finds them, then the changes that were made while it went on, in their
// order, up to a mark that the backup itself commits, and last the files, in pieces: the authority's
// and orders' keys, and packages where they are wanted. Whoever applies the lines in their order has the
// store as it was at the mark, while panels went on working. A panel that has its store for
// itself sends one to who may have it, out of a file of its own ([Spool]), so that a slow reader
// keeps no store waiting and remembers no changes.
//
// What it keeps: a file is whole or has another name (it is flushed and renamed at the end), and one
// that is damaged or cut is refused before anything is written. A restore that is cut leaves a
// mark by which panels refuse the store.
//
// What it leaves out: who leads, which panels live, sessions and uploads under way. They would be
// wrong at another time. The configuration is not in it, nor what that names but the keys of orders.
//
// What it defends against: damage, not forgery. Who may write the file may write anything into the
// store; files go where the panel has such, and replace none. The audit log in it can be checked by
// itself. It does not encrypt: the file has mode 0600, and whoever takes it elsewhere has tools for
// that which they trust already.
//
// Rejected: an archive (tar), which would say a file's size before its bytes, and so read the store
// twice; encryption of our own, whose password would be lost with the panel.
package backup
