// Package device runs whole devices from the built binaries in a temporary
// directory: the agent with its forwarder, gateway and cameras, as on a real
// one, for the demo and for tests. Nothing needs root.
//
// It keeps one promise: nothing that it started is left running, however its
// user ends. Close ends all processes of a device; for a user who never comes to
// that (a panic, a killed test) a guard process waits on the other end of a pipe.
//
// A process is known to be the device's by paths of the device's own directory
// in its arguments or environment, looked at again after its pidfd is open; the
// directory's name is used once. Nobody else's process can be hit.
//
// It is not the QEMU rig: no reboot happens here, and "kill everything" leaves
// the page cache alone.
//
// Rejected: ending what is found by name (other devices run beside this one),
// and process groups (apps have sessions of their own, and outlive the agent on
// purpose).
package device
