// Package simtest is for tests with many simulated devices: the least of a panel that they
// can call (a [Panel]), and processes of their own for them (a [Swarm]), so that what is
// measured of the panel's process is the panel's.
package simtest
