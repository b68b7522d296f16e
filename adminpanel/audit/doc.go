// Package audit keeps who did what: a chain of lines, each of which is written in the
// same commit as the change that it tells of.
//
// A line is the JSON of [view.AuditLine] as encoding/json writes that struct without
// escaping HTML: its fields in their order and without blanks, absent ones left out, the
// time in UTC and whole milliseconds. The hash is the last field:
//
//	{"seq":7,"at":"…","actor":"user ann",…,"hash":"<64 hex digits>"}
//
// It is the SHA-256 of the hash of the line before, as hex, a line feed, and the line
// without its hash: up to `,"hash":` and a closing brace. Before the first line stand 64
// zeros. So a chain can be checked with sha256sum alone:
//
//	printf '%s\n%s' "$before" '{"seq":7,"at":"…",…}' | sha256sum
//
// Line n is at a/<n with 20 digits>; meta/audit says which is the last and its hash.
//
// What it keeps: lines are numbered from 1 without a gap, whoever writes them, and there is no
// change without its line, nor a line without its change. [Verify] finds each line that was changed, removed,
// added or put elsewhere, and names the first.
//
// What it does not do: resist who may write to the store and makes the whole chain anew.
// Against that, keep a hash elsewhere: [Verify] returns the newest, and [VerifyFrom] takes it back.
//
// Rejected: a keyed hash. The key would lie beside the store, for whoever reads that. A hash
// over decoded values: two spellings of a line would be the same line.
package audit
