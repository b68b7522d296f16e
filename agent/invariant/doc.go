// Package invariant judges what a manifest declares of an app, while it is on
// trial: what its processes use, what a program, a server or a file of its own
// says, whether the panel can be reached through it. What is declared of streams
// is judged by the forwarder, which sees them.
//
// Each check is sampled on its own, again and again, and has hysteresis: it is
// broken after so many failures in a row, and one success makes it hold again. It
// is judged once there was a success, or so many failures; the growth of memory
// once there is enough of it to draw a line through. So a moment's stutter breaks
// nothing, and a version of which nothing is known yet does not pass as one of
// which all is well.
//
// A sample that takes longer than its timeout is a failure. The next one is taken
// when the last one is done, never beside it, so that a check that hangs costs one
// goroutine and not one each second.
//
// # What it does not do
//
// It decides nothing: the upgrade reverts a trial whose required check is broken.
// It does not sample permanent versions. It asks no other machine: the manifest
// cannot name one.
//
// Rejected: judging from averages (a leak of a gigabyte in the last second of a
// soak would vanish in them); one goroutine for all checks (a program that hangs
// would blind the others).
package invariant
