// Package dist is how Slipstream is put onto devices and started there: units for
// systemd, an init script for busybox, and the packages of Debian that `make deb`
// builds. It has no code but its tests.
//
// The files keep one promise: whatever starts, stops, restarts or upgrades the agent
// leaves the picture alone. Only what says so ends the streams: `S90slipstream
// stop-all`, and the removal of the package.
//
//	slipstream.service   the agent under systemd. KillMode=process, because what the
//	                     agent has started outlives it; the run directory is preserved,
//	                     because the next agent finds it all by what lies there.
//	                     slipstream-start chooses the agent: the permanent version of
//	                     Slipstream's own programs, or the one of this package
//	slipstream.sysusers  the users of the slots, and the group of who may operate
//	S90slipstream        the same for busybox init, which restarts nothing by itself
//	slipstream.toml      the configuration to begin with
//	deb/                 what makes a Debian package of it
//
// # Sandboxing
//
// The unit names no option of systemd's that would give the agent a mount namespace of
// its own (ProtectSystem, PrivateTmp, ReadWritePaths, ProtectKernelTunables …). The
// slots' images are mounted by the agent and stay so when it ends; a namespace would be
// another one after each restart, and the mounts of the one before would be in
// it for the running app and out of reach for its agent. Nor RestrictSUIDSGID: the apps'
// common directory has that bit. Nor does it restrict what apps
// of a vendor may need, since they inherit it: writable and executable memory, foreign
// system calls of 32-bit programs, devices. The protection of a slot's app is the
// agent's own: see package supervise.
//
// # Cgroups
//
// Apps have limits only if the agent leaves the cgroup of its unit (package supervise), which
// then takes no further process. Since apps outlive the agent, systemd could not start the
// next one: so the unit says that it may move, and takes the controllers back when it has
// ended, however that was. Until the next agent gives them anew apps run without limits, and
// memory that they had before is not counted any more. A drop-in with
// DelegateSubgroup=slipstream-agent (systemd 254) does without all that; the unit does not
// say it, because older ones warn of what they do not know. The rig's scenario debian-package
// shows all of this but DelegateSubgroup with a real systemd.
//
// # What it does not do
//
// It does not guard against a new agent that was installed as a file of a package and
// does not come up: systemd starts the same one again, and again. (One that came as a
// package of the class runtime is on trial first.) Nor does the package bring the keys that a
// device trusts, or a first version of its application.
//
// Rejected: debhelper, because a cross build needs nothing but go and dpkg-deb;
// systemd's store of descriptors (FileDescriptorStoreMax=), because the agent and the forwarder
// keep each other's and outlive each other, and a third copy of every viewer's sockets would
// help only where both die in the same moment; socket activation, because the agent's socket must not answer for an agent that does
// not run; a unit for each daemon, because systemd would restart the forwarder without
// the descriptors of its viewers, which only the agent has.
package dist
