// Package simulate makes devices that lie to a panel, as many as one process can have,
// for trying out what a fleet does to it.
//
// A [Device] calls the panel by package link, as an agent does: it enrols by a token, has a
// key and a certificate of its own, keeps one HTTP/2 connection over mutual TLS, waits and
// comes back as agents do, and is told what is desired of it. A [Fleet] is many of them, of
// which shares behave badly ([Fate]); which ones follows from the seed and the number of
// devices alone.
//
// # Its lies
//
//   - There is no app, no slot and no picture. States, trials and their evidence are made up;
//     times of staging, starting and soaking are what [Times] says, with some scatter. A way
//     back to the version before takes no trial.
//   - Of a package only the head is read, by ranges, and only by the first device of a process
//     that is asked for it: the others take its word. Nobody asks who signed it. With
//     [Config.Download] each device reads all the bytes, and throws them away.
//   - Whoever speaks for many devices has their keys in one memory; unless there is a
//     directory for them, they are lost with the process, and the devices' names are taken
//     from then on.
//   - All devices have one boot id, that of this machine.
//   - A clock that is behind shows in what a device says, not in how it judges certificates.
//
// What it does not do: it brings no video (an offer is answered by [Device.Answer], if
// somebody has set that), and judges nothing about the panel: it tells what its devices
// did ([Fleet.Counts]), and tests compare.
//
// Rejected: a link of its own that is lighter. Where package link and its copy would differ,
// the panel would be tried against devices that do not exist.
package simulate
