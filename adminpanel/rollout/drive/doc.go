// Package drive gives rollouts their hands: it journals what the engine decides (package
// rollout), asks the devices for it, and tells the engine what they say.
//
//	           words                      Step                commit
//	devices ─────────▶ [Translate] ─────────────▶ engine ─────────────▶ store
//	   ▲                                                                  │
//	   └───────────────────────── [Asker] ◀───────────────────────────────┘
//	                                                     only when it is on disk
//
// Any number of panels run a [Driver]. One of them leads: it holds the engines, and each
// of its commits carries the condition of its term, so that one that has lost its place
// changes nothing more. The others show rollouts out of the store, bring asks to the devices
// that are linked to them, tell the leader where these stand (also by the store), and hand
// what people want to the leader: a request in the store, which the leader takes in one commit,
// does, and answers there. Only while nobody leads is it refused, with [ErrNotLeading]. What
// becomes of a person's ask every panel tells the others, the leader too.
//
// In the store:
//
//	r/<rollout>            plan, head, who wanted it, approvals
//	rd/<rollout>/<device>  a device's course in it
//	da/<device>            the newest ask of a device, whoever asked ([Ask])
//	dw/<device>            where a device stands, and what it answered, by the panel it is linked to
//	fw/<id>/ask, /answer   what another panel wants of the leader, and what came of it
//
// What it keeps:
//   - Nothing is asked of a device before its course and its ask are committed, both in one
//     commit, and after the head of the rollout. A panel that is killed between the two
//     asks once more after its restart, with the same epoch, which is asking once.
//   - Epochs grow by device over all rollouts and people. What is desired of a device is the
//     newest ask of it, and it has one owner: a device is in one rollout at a time that
//     has not ended, and people's asks of it are refused meanwhile.
//   - The newest status of a device is enough to know where it stands: nothing depends on
//     having heard every word. Reports, which echo an epoch, add why something was refused.
//   - What another panel wants is done once or not at all. Whoever has not been answered is
//     told that this is not known.
//   - After a failed commit the leader forgets everything and reads the journal again.
//   - A device that reads slowly delays nobody: asks wait for it in an outbox, the newest
//     of each device.
//
// What it does not do: decide anything about devices' health or waves (package rollout),
// keep links (package hub), or judge who may call its methods.
//
// Rejected: an ask as its own journal entry to be marked as sent. Sending again costs less
// than the second commit, and the mark would be late at the one time that counts.
package drive
