// Package api is the panel's HTTP interface for people and programs, the only door to it:
// the pages, the Go client, the commands and curl use the same routes.
//
// A request passes, in this order:
//
//	auth.Guard      the panel's own name, no page of another site, the right kind of body
//	auth.Authorize  who it is, and what the route's rule asks of them (auth.Rules)
//	the body        bounded in size and in time
//	the handler     narrowed to the devices that the caller's grants cover
//
// Routes of JSON are huma operations: what they take is checked against the types of
// package view, and /openapi.json tells of them. Others (pictures, events, packages) are
// plain handlers with an entry there.
//
// What it keeps:
//   - An error is application/problem+json (RFC 9457): a stable code, one plain sentence,
//     and where in the request it is, if it is in the request. Nothing was changed then.
//   - Every route has a rule in auth.Rules and every rule a handler; a test compares them.
//   - What has a revision is changed with If-Match only: 428 without one, 412 if it is not
//     that any more.
//   - Fields and parameters that a route does not know are refused.
//   - A POST with an Idempotency-Key does its work once: who asks again with that key within
//     a day gets the first answer. Answers are kept in this panel's memory, in bounded
//     number and size; after a restart, or at another panel, a repeat is a new request.
//
// Events come from one feed of the store and the links (feed), which remembers when each
// thing has changed last. A reader who comes back with the revision of the newest event is
// told once of each thing that has changed since, as it is now, or to look at everything
// anew (resync); one that is slow gets fewer events, never a queue. Presence has no revision:
// it counts as of the newest one, so what is told at that may be told twice.
//
// What it defends against: bodies without end and bodies that drip, readers that do not
// read, guesses at devices that the caller may not see (they do not exist for the caller).
//
// What it does not do: files of the pages, health and metrics, and everything that devices
// call; package adminpanel puts those beside it.
//
// Rejected: answers to repeated requests in the store: some hold secrets that the store
// must not have, and the window in which a program repeats is seconds.
package api
