// Package hub holds the panel's end of the devices' links.
//
// It knows which devices are linked, keeps the newest status that each sent,
// carries asks to them and answers back, and tells watchers what changed.
//
// What it keeps: all of it is presence, in memory only; a panel that restarts
// learns it again from the devices, who are the truth about themselves. A device
// has one link; a second one takes its place, because the first may be dead
// without anyone knowing yet.
//
// What it defends against: a caller without a token, a device that speaks for
// another one, lines without end, a device that is silent ([wire.SilenceLimit])
// or does not read (writeTimeout), and watchers who are slower than the devices:
// a watcher holds a set of names that changed, never a queue of changes.
//
// What it costs: a link that waits has one goroutine of the hub's, whose stack never grew,
// and half a kilobyte of buffer; the rest of its 60 to 70 KB is TLS's and HTTP/2's. When all
// devices return at once, a [Door] does so many handshakes at a time, of those who are still
// there; the others wait in the kernel, and call again later and later.
//
// What it does not do: it stores nothing and decides nothing about updates.
//
// Rejected: heartbeats written to the store (the disk would do nothing else).
package hub
