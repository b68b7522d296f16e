// Package doctor says what this machine can do for a device, and what each thing that
// it lacks would bring.
//
// It keeps one promise to whoever reads it: a finding is what was tried, not what a
// version number suggests. A system call is made, a scheduler asked for, a cgroup made
// and removed again; how the agent was started its process says. So what it says holds
// for the user that it runs as; run it as the agent does.
//
// It changes nothing that outlives it: what a thread of its own was given ends with
// that thread, and what it makes has names that no agent uses. It asks no network.
//
// Only what a device cannot do without makes it ill; everything else is degraded or
// missing with a sentence, because Slipstream goes on without it.
//
// Rejected: reading the kernel's configuration (often absent, and privileges decide as
// much as it does); repairing what is found (a person decides, and the sentence says
// how).
package doctor
