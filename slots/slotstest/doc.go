// Package slotstest is what an implementation of boot.Control has to pass:
// [TestControl] drives it together with a [Loader], which does what the boot
// loader does at power-on, over storage that loses power at every step ([Disk]).
//
// The loaders are written from the boot loaders' sources and scripts and share
// no code with package boot, so that an error in reading a format shows as a
// disagreement.
//
// And it is what slots of every kind have to pass, wherever their images lie:
// [TestSet].
package slotstest
