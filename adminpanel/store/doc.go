// Package store is what a panel remembers: an ordered map of keys and values that changes
// by whole commits and can be watched. Package bolt keeps it in a file, for one panel;
// package etcd in a cluster, for any number of them. Package storetest holds what both
// promise.
//
// What it keeps:
//   - A commit happens wholly or not at all, and is on disk when Commit returns. Its
//     conditions are looked at in the same instant.
//   - Revisions grow with each commit and never go back. A key's revision is that of its
//     last change, so that whoever read it can tell whether it has changed since.
//   - A watcher gets every change after the revision it named, once and in order, or is told
//     to start over by the end of its channel. It is never given a gap.
//   - Who leads under a name is the only one whose commits can carry [Term.Cond] with success:
//     a leader that has lost its place, and does not know it yet, changes nothing.
//
// What it does not do: presence, which would wear the disk out and is worth nothing after
// a restart; files, which are beside it; secondary indexes, which package fleet has in
// memory.
//
// Keys of the panel:
//
//	d/<id>            device              r/<rollout>          rollout
//	da/<id>           newest ask of it    rd/<rollout>/<id>    a device's course in it
//	rel/<id>          release             up/<id>              upload under way
//	u/<name>          account             s/<hash>             session
//	t/<id>            API token           e/<id>               enrolment
//	a/<seq>           audit line          v/<time>             versions at that time
//	ca/…  set/…       authority, settings lead/<name>          who leads; lead/panel/<name>: who has it
//	hub/<panel>       a panel that lives  fw/<id>/…            what it wants of the leader
//	meta/audit        end of the log      meta/backup          newest backup
//	meta/schema       version of all this  ord/<release>        the fleet's order for it
//	meta/order        newest number of orders  dw/<id>           where a device stands to its ask
package store
