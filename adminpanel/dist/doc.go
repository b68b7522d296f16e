// Package dist is how a panel is put onto a machine and started there: units for systemd, and
// the packages of Debian that `make deb` builds. It has no code but its tests.
//
//	slipstream-panel.service          the panel, as a user of its own
//	slipstream-panel-people.socket    the address of people, which stays open while one
//	                                  panel ends and the next one begins
//	slipstream-panel-devices.socket   likewise that of devices
//	slipstream-panel.sysusers         the panel's user
//	panel.toml                        the configuration to begin with
//	deb/                              what makes a Debian package of it, which also has what
//	                                  brings pictures to viewers, the manual and completions
//
// With the sockets systemctl restart refuses nobody: who calls meanwhile waits. The
// addresses are those of the sockets then, and not those of the configuration. A panel that
// opens its own addresses needs no sockets: leave them disabled.
//
// Unlike a device's agent a panel starts nothing that outlives it, so the unit shuts it in:
// it writes its own directory, and sees no other. Packages or keys that are to be elsewhere
// (store.releases) need a drop-in with ReadWritePaths.
//
// # The package
//
// Installed, it runs at once, for people on the machine itself: the configuration to begin
// with has no names and no TLS. The sockets are disabled until somebody enables them. An
// upgrade starts the panel anew when its new program is in place; one whose configuration
// is wrong is left as it is. A removal keeps what the panel knows. A purge removes
// /var/lib/slipstream-panel, and says what that means; data that the configuration has put
// elsewhere, and files that somebody has put beside it, stay.
package dist
