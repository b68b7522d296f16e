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
// A [Fleet] keeps the table in step. Records of devices ([Record], at d/<id>) come from the
// store, by a scan and a watch after it, and by another scan whenever the watch was lost; what the
// links tell comes by [Fleet.Heard]. Written is only what is worth it when the panel starts
// anew: who a device is, what people say of it, and edges: its settled versions
// changed, it has been away for long or is back, it calls another panel. Each write
// has the revision that it is based on as its condition, so that several panels can be
// at it; one that was late reads again.
//
// Which panel has a device's link is in its record (Home), and that the panel lives at
// hub/<panel>, written each 20 seconds: a panel shows devices of others as online, with
// their settled versions; what they are doing just now knows only the panel that has the link.
//
// What it keeps: a table is a copy of what the store holds plus presence, and a reader
// never sees half of a change. Orders are those of ids, or of a hash of them where
// a few devices are to stand for all (see [Table.At]).
//
// What it does not do: presence in the store. A beat writes nothing; when a device was
// seen last is known to the minute from its panel's sign of life.
//
// Rejected: indexes by version or site. A look at each of 100 000 devices takes some ten
// milliseconds, and an index is one more thing that can be wrong.
package fleet
