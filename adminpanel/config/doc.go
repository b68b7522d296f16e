// Package config reads what a panel is started with: one TOML file, and variables of the
// environment that begin with SLIPSTREAM_PANEL_.
//
// A variable's name is the key in capitals with _ for the dot: store.kind is
// SLIPSTREAM_PANEL_STORE_KIND. It has the last word over the file; lists have commas between their
// values. So a container needs no file, and a file no secrets: those are in files of their own that keys name.
//
// A configuration that loads is whole: every key and variable is known, every value was judged,
// and what is left out has its default. An unknown key is an error with file and line, an
// unknown variable one with its name; all problems are told at once.
//
// What people change while the panel runs (who may do what, walls, limits of rollouts) is not here but in
// the store, with an audit line each.
//
// Rejected: flags for each key, as a third place to look; passwords as values (they end in
// process lists and backups).
package config
