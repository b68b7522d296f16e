// Package appcontrol is the agent's end of SLIPSTREAM_CONTROL: it tells each app its
// role, and passes the batons, of which one app at a time has each. The conversation is
// described in package slipstream/stream/control.
//
// What it keeps: of the apps that listen, at most one is told to go and was not told to
// hold since; the next one hears go only after the one before has answered, has died,
// or has let [control.HoldTime] pass. When the one that goes dies, another that listens
// is told at once. Of wishes for key frames an app hears once in [control.WishTime].
//
// What it defends against: apps that never answer, never read, connect again and again,
// speak for another slot (whose process it is says the kernel) or talk nonsense. None of
// it ends anything but that app's own connection. An app that does not listen has no
// part in it: it keeps what it has taken, and nobody waits for it.
//
// What it does not do: it decides nothing. Who is to have which role, and the batons, is
// said by [Desk.Steer]; without an agent everything stays as it was said last.
//
// Rejected: locks that the kernel releases at a death (flock, robust futexes) in place
// of words: they cannot ask a living app to let go, and the device's buffers would be
// taken from one that still has them mapped.
package appcontrol
