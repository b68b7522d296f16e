// Command slipstream-start starts the agent of a device: that of the permanent version of
// Slipstream's own programs, or else the one that lies beside itself, built into the
// system slot.
//
// It keeps three promises:
//
//   - An agent comes up. The built-in one runs if no other version is permanent, if its
//     slot is not whole (all of it is read at every start), if it cannot be executed, and
//     if it was started more often than a few times without having proven itself.
//   - A version on trial runs once. The agent before asks for it by a word in the run
//     directory, which is spent before it is obeyed; whatever ends the agent on trial,
//     the next start is that of the permanent version again. A reboot ends every trial.
//   - An agent on trial that does not end its trial is ended. A second process of this
//     program waits beside it, and kills it some time after the deadline that it has not
//     kept itself. What has started this program (systemd, an init script) starts it
//     anew, which is all that it is relied on for.
//
// All arguments are the agent's; of them it reads --config. It becomes the agent by exec,
// so that this is known by its number, and stays its children's parent. The agent is told
// by SLIPSTREAM_START where the start program is, by which it is started when it is to
// become another version.
//
// It writes nothing below the state directory, takes no locks, and trusts what lies there
// as the agent's own record does: signatures were checked when it was staged.
//
// Rejected: staying the agent's parent (a third process for ever, which would have to
// pass on signals, the watchdog and the overseer's socket); counting tries in the state
// directory (what a reboot ends needs no memory that outlives it).
package main
