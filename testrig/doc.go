// Package testrig holds the tests of the whole product: real devices, real
// packages, real viewers.
//
// Its parts are packages of their own: camera is the sample application, viewer
// the measuring instrument, device a whole device in a temporary directory, demo
// what `make demo` runs, bench what `make bench` runs; machine a whole emulated camera
// with a boot loader, scenarios the stories that `make rig` plays with it, powercut what
// `make rig-powercut` does to its disk.
//
// Nothing imports it.
package testrig
