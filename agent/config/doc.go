// Package config reads the device's TOML file, and the drop-in files beside it.
//
// slipstream.toml has the first word, then slipstream.toml.d/*.toml in the order of
// their names: what a package, a fleet or a technician adds needs no editing of another's
// file. A key that stands in several has the last one's value, a list as a whole.
//
// A configuration that loads is whole: every key is known, every value was
// judged, and what the file leaves out has its default. A misspelt key is an
// error with file and line and never a setting silently missing, because on a
// camera nobody looks at the log until something has gone wrong.
//
// It does not look at the machine: whether a port is free or a key file can be
// read is found out, and said, by whoever uses it.
//
// Rejected: environment variables and flags as a second source of settings (two
// places to look when a device misbehaves); resolving host names in addresses
// (a device must start the same way with and without a network).
package config
