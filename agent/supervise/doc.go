// Package supervise starts the device's long-running processes, keeps watching
// them across the agent's own restarts, and ends them.
//
// It keeps one promise: no signal is ever sent to a process that is not proven
// to be one that it started. A bare pid proves nothing, because the kernel uses
// numbers again; what proves a process is, in this order:
//
//   - its pidfd, made by the clone that made the process, or opened later and
//     only then compared with the start time and boot id of the adoption record;
//   - an unreaped main process: while it runs or is a zombie of ours, its number
//     is in use, so it cannot come to name another process, group or session.
//     That is why the main process is reaped last, after everything it left
//     behind has been killed. Since Linux 6.9 the pidfd itself also names the
//     group, and then no number is used at all;
//   - the token: a random value in the environment of each process we start,
//     inherited by all its descendants. It finds what a main process left behind
//     when that died while no agent watched. A descendant that has emptied its
//     environment is then left alone, because nothing proves that it is ours.
//
// Children outlive the agent. Each has its own session, holds its log file
// itself (no pipe to the agent that could break), and gets no parent-death
// signal. A record in run/proc/NAME.json, written before the process starts and
// completed after, lets the next agent adopt it; the exit status of an adopted
// process is unknown, because only a parent is told.
//
// What cannot be looked at is not taken for dead. A process counts as ended only
// if the kernel says so (no process of that number, another start time, another
// boot, a pidfd that has ended); while it does not answer, for want of a
// descriptor or of memory, the process counts as living and is left alone.
//
// A process may store descriptors here (FDSTORE=1 of sd_notify(3)), and its successor
// of the same name is given them after a crash. They die with the agent: the next
// one has none until the process stores them again, for which its notify socket is
// bound anew at the adoption. So either may die alone. It takes all that
// the forwarder can have with as many viewers as it serves; what is beyond is refused
// and logged, also where our own limit of open files is lower. A
// program that crashes of what it is given must be started without: see DropStored.
// Who runs the device may look at everything that is stored, and deal with it itself: see
// JudgeStored.
// LISTEN_PID is not set, since a process's number is not known before it exists;
// programs that insist on it find nothing.
//
// Core dumps are off: they delay the news of a crash by seconds.
//
// A process may be started in a cgroup of its own (see Groups), in which it can be
// frozen and with which all of it ends, whatever has left its session and emptied its
// environment.
//
// It does not restart anything, and does not limit memory or CPU: the first is
// the agent's policy. The bound on a log file holds while an agent runs.
//
// Rejected: a parent-death signal, because an agent's crash would take the
// picture with it; double-forking monitors, because pidfds say the same with no
// process more; pid files without a start time, because they get strangers
// killed; RLIMIT_CORE 0, because the kernel ignores it when core_pattern is a
// pipe, while the value 1 turns both kinds of dump off.
package supervise
