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
// one has those that somebody has kept for it (MirrorStored, Restore) or that the process
// stores again, for which its notify socket is
// bound anew at the adoption. So either may die alone. It takes all that
// the forwarder can have with as many viewers as it serves; what is beyond is refused
// and logged, also where our own limit of open files is lower. A
// program that crashes of what it is given must be started without: see DropStored.
// Who runs the device may look at everything that is stored, and deal with it itself: see
// JudgeStored.
//
// Core dumps are off: they delay the news of a crash by seconds.
//
// A process may be started in a cgroup of its own (see Groups), in which it can be
// frozen and with which all of it ends, whatever has left its session and emptied its
// environment.
//
// A process may be confined (see Confinement). Much of that a process can only do to
// itself, so it begins as our own program, the launcher (see Launch), which becomes the
// other one by execve, under the same number. It is told what to become by a socket, after
// it is in its cgroup and in its record: one whose agent has died meanwhile hears nothing and
// ends. From the outside in, it gets: a mount namespace in which the program's directory is
// read-only and hidden directories hold only what it needs; no capabilities, now and
// after any execution; another user; no-new-privileges; and Landlock rules by which it
// writes only where it may and executes nothing that it could write. LISTEN_PID and
// WATCHDOG_PID are set then. Whatever this kernel or an agent that is not root cannot do
// is left out, told by Protections, and logged once; but nothing runs as root that was to
// run as somebody else. Landlock is used from its second version on: the first cannot allow
// a rename from one directory to another.
//
// Of sd_notify(3) a sender is believed by its cgroup, where one was made for the process, and
// else by its place below the main process. MAINPID is
// ignored, EXTEND_TIMEOUT_USEC is granted by others up to their own bounds, and what is
// unknown means nothing. A flood costs its sender time and us no memory.
//
// A group has limits of memory, tasks and CPU where the controllers are those of
// cgroups of version 2 and the agent may use them (see Groups.Controls). A cgroup that gives
// controllers on may hold no process, so an agent that sits in the place of its apps' groups
// moves itself, and its daemons, into one beside them, if all that is there is its own
// (Groups.StepAside).
//
// It does not restart anything: that is the agent's policy. The bound on a log file
// holds while an agent runs; lines that come faster are lost, not waited for. It keeps no
// process from the network, and shows it all processes of the device. Device nodes that come
// while a process runs are not its.
//
// Rejected: parameters in the environment, which all that the program starts could
// read; confinement between fork and execve, where Go can run nothing; a private /tmp, which
// would be memory, in place of TMPDIR; seccomp filters, of which no list fits every
// encoder's driver; a tree of supervised goroutines (suture), because each of ours ends
// with what it watches or with the agent, and one that ended otherwise would be a fault that
// starting it again only hides; a parent-death signal, because an agent's crash would take the
// picture with it; double-forking monitors, because pidfds say the same with no
// process more; pid files without a start time, because they get strangers
// killed; RLIMIT_CORE 0, because the kernel ignores it when core_pattern is a
// pipe, while the value 1 turns both kinds of dump off.
package supervise
