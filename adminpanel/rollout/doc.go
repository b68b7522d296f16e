// Package rollout brings a release to a set of devices in waves, and stops by itself when
// it goes badly. It is pure: time, the fleet and the devices' words come in as events, and
// what is to be journaled and asked comes out. Package drive gives it hands.
//
//	          ┌─────── Retry, or by itself while tries are left ◀──────┐
//	          ▼                                                        │
//	queued ─▶ staging ─▶ staged ─▶ activating ─▶ trial ─▶ done ─▶ reverting ─▶ reverted
//	   └────────┴──────────┴─▶ skipped      └──────┴──▶ failed, reverted ◀── late revert of done
//
// Staging runs ahead: devices of later waves download while an earlier wave is on trial,
// so that opening a wave is one message to each.
//
// What it keeps:
//   - No device is activated before its wave is open, outside of its windows, or beyond the
//     limits on devices that are unavailable at a time.
//   - Done means that the device itself said its version is permanent. A device that
//     reverts later is counted out again, also after the rollout has ended.
//   - Silence is failure: whoever does not end its trial by the deadline has failed.
//   - A wave always comes to a verdict. It passes when enough of its devices are done and
//     its soak is over; once all of them have ended it passes or fails there and then. If
//     nobody could be asked, that is no success: the rollout halts for a person.
//   - A limit on failures is crossed when the lower bound of the failure rate is above it
//     (Wilson's score interval at 95 %), so that one failure of the first few devices is
//     not taken for a rate; or when their plain number is.
//   - Words of older asks change nothing: each ask carries an epoch that grows by device,
//     and reports echo it.
//   - The work for an event does not grow with the fleet, except for starting, aborting
//     and rolling back.
//
// Truth: what a device says goes before the journal, the journal before memory. Nothing is
// asked before the intent is committed ([Outcome]); after a restart whoever was in
// flight is asked the same again, and counts as unknown until it has spoken. Asks
// are idempotent for that reason.
//
// What it does not do: judge devices' health (they judge themselves, and revert without
// any panel), choose members (the caller freezes the selection), or keep time.
//
// Rejected: a goroutine per device (no trace could be replayed); a verdict from rates of a
// least sample (a wave smaller than the sample never ended); reports that win by
// arriving last (a late "done" undid a revert).
package rollout
