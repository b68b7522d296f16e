// Package dist is how a panel is started under systemd. It has no code but its tests.
//
//	slipstream-panel.service          the panel, as a user of its own
//	slipstream-panel-people.socket    the address of people, which stays open while one
//	                                  panel ends and the next one begins
//	slipstream-panel-devices.socket   likewise that of devices
//	slipstream-panel.sysusers         the panel's user
//	panel.toml                        the configuration to begin with
//
// With the sockets systemctl restart refuses nobody: who calls meanwhile waits. The
// addresses are those of the sockets then, and not those of the configuration. A panel that
// opens its own addresses needs no sockets: leave them disabled.
//
// Unlike a device's agent a panel starts nothing that outlives it, so the unit shuts it in:
// it writes its own directory, and sees no other.
package dist
