// Package fleet knows all devices of a panel at once, and finds those that a selector
// means. It is what lists, counts, version matrices and rollouts ask.
//
// A selector is one line of terms, all of which must hold:
//
//	version<1.4 site:north,south -state:offline tag:lab door
//
// A term is a field, an operator and one or more values with commas between them, of
// which one must hold. Operators are ":" (equal; "*" stands for any characters), "<",
// "<=", ">" and ">=". A term without a field is a part of the id, name or site. "-"
// before a term turns it round. Values with blanks or commas stand in double quotes. The
// empty selector means every device.
//
// Fields: id, name, site, tag, product, hardware, state, slot, rollout; version (of the live
// slot that viewers see), staged, previous, system, runtime, which compare as versions do;
// online (yes or no); seen, which takes a time such as 10m or 3d: "seen<10m" is who was
// heard within the last ten minutes.
//
// What it keeps: a table is a copy of what the store holds plus presence, and a reader
// never sees half of a change. Orders are those of ids, or of a hash of them where
// a few devices are to stand for all (see [Table.At]).
//
// Rejected: indexes by version or site. A look at each of 100 000 devices takes some ten
// milliseconds, and an index is one more thing that can be wrong.
package fleet
