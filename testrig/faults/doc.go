// Package faults torments a running forwarder and gateway with random sequences of
// faults, as a seed has them, while viewers watch a healthy permanent version.
//
// After each sequence the viewers must have got every frame of that version, in
// order and none twice, and no packet index may have been used for two packets:
// whatever a version on trial, another program of the same user, a viewer or the
// network does is nobody else's loss.
//
// What is tried: versions on trial that die, hang, dribble, reorder, send too much,
// garbage or foreign descriptors; agents and gateways that talk nonsense, leave
// descriptors out or die; viewers that do not read or send garbage; forwarder and
// gateway stopped and continued, killed and replaced; strangers on every socket.
//
// A failure names its seed and sequence, and the same are tried again by
// FAULTS_SEED and FAULTS_FIRST in the environment. Times are not part of the seed:
// the machine's own are as good as any.
package faults
