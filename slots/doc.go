// Package slots keeps the versions that a device can run, and the one small
// file that says which of them is permanent.
//
// It keeps one promise: at whatever instant the power fails, a slot is either
// whole and says "staged", or does not say so; and the active record is either
// the one before or the one after.
//
// # Slots
//
// A [Set] is a directory with two slots, "a" and "b":
//
//	lock                     flock: one process at a time
//	a/state.json             what the slot holds; missing: it is empty
//	a/head.tar               the package's signatures and trust, as they came
//	a/chunks                 the image's list of chunks, as in the package
//	a/image                  the image, unless it is a tree or has a partition
//	a/root/                  the version's files: of a tree themselves, of an
//	                         erofs or squashfs image where it is mounted
//	a/progress, a/part       while it is written: the journal, a file of a tree
//
// Images may also be kept in partitions ([Options]), which is the only place for
// those of kind "disk". Then the directory holds all but the image.
//
// Every change of state.json is a new file, synced, renamed over the old one,
// with the directory synced. [Set.Stage] works in this order: state "writing";
// write the image; sync it; read all of it back past the page cache; put the
// list of chunks and the manifest beside, synced; state "staged". So no crash
// leaves "staged" on a slot that was not read back whole, and a slot in state
// "writing" runs nothing. [Set.Clear] removes state.json first, which needs no
// space and so works on a full disk. [Set.Distrust] is for a slot that was found
// damaged: its state is "writing" from then on, and its bytes stay to be mended.
//
// # Where chunks come from
//
// Each chunk is looked for in the target itself, then in the slot in use, then
// asked of the package, neighbours together; one that comes otherwise than it was
// signed is asked for once more, and then the package is refused. Lists of chunks and the journal only
// say where to look: whatever is read, from wherever, is hashed in memory before
// it is used, so that a wrong hint costs time and nothing else. An interrupted
// stage goes on in this way, a damaged slot is mended, a version that is there
// already is read and not written (an image that this process has read since it was
// last changed not even that), and nothing is written twice. A slot in use that
// has lost its list of chunks is read once more and cut as packages are (package
// chunk).
//
// An image is written by one goroutine while another hashes what follows, in
// whole sectors past the page cache, whose memory the running version needs. All
// buffers together are some 8 MiB whatever the image's size.
//
// # Trees
//
// The image of kind "tree" is a directory as one canonical ustar file, defined in
// package verify/pack. Each header is taken apart, judged, made again from what
// was understood, and compared whole, so that there is one way only to write a
// tree down. That makes the directory itself the image: tarred again it gives the
// signed hash, so no copy of the image is kept beside it, and its chunks are found
// in the files. [Set.Verify] does just that, and therefore sees any file changed,
// added, lost, or with other rights. Files that are right already stay; others are
// written beside and renamed, or written on; what has no place in the tree goes.
//
// Everything is reached through [os.Root], so no link and no name leads out of
// a slot, and all writes go through one small interface, disk, so that tests
// can let each of them fail, and what they cost is counted. Package powercut cuts
// the power at every system call, and makes the disk deaf to each flush: one that
// is not needed, or is missing, fails a test.
//
// # Mounting
//
// Images of the kinds "erofs" and "squashfs" are mounted by [Set.Mount]: read-only,
// without devices and set-user-id, by a loop device, and through dm-verity where
// the image has a hash tree and the kernel the target (package verity). Without
// either the image is read and hashed whole by every Mount, and nothing guards it
// after. Loop and verity devices go away with the mount, so that there is nothing
// to be found again but the mount itself: by the mount's number, and the device
// behind it must have the very file that is the slot's image now. Nothing of it
// is lost with the process, and everything with the machine. A slot of which
// anything is mounted, in whichever namespace, is never written.
//
// # The active record
//
// [RecordFile] keeps two copies of one JSON document, each as
//
//	offset 0   8 bytes  "SLIPREC\n"
//	       8   4        format, big endian: 1
//	      12   4        length of the JSON
//	      16   4        CRC-32C of the bytes 8 to 16 and of the JSON
//	      20   …        the JSON, to the end of the file
//
// [RecordFile.Replace] writes the copy with the lower generation first: as a
// new file, synced and renamed, with the directory synced. That is the commit
// point. Then the other copy is brought to the same generation, so that a copy
// lost later to a bad block does not bring an older record back.
//
// Old agents read what new ones write: fields are only ever added, and the
// format number does not change. What an old agent does not know it keeps when it
// writes, except in what is said of a version that it replaces.
//
// Per system slot the record names the system version, and the live and runtime
// versions that were permanent with it. [RuntimePlace.Runtime] is how a small
// program that starts Slipstream finds its permanent version without an agent. A [Try]
// in the run directory asks it for another version, once: [TakeTry] spends the word
// before anything is done with it, and no reboot outlives it.
//
// # What it does not do
//
// It trusts its caller to have verified the signature (package verify), and to
// know which slot is in use, which it refuses to write if it is told. It does not
// tell the boot loader that a slot is being written: package boot does. It does
// not help against a flash controller that
// lies about flushes; but what it reads back comes from the disk and not from
// the page cache, where the file system can do that.
//
// Rejected: a bitmap of chunks as the journal (the writer goes from front to back,
// so one number says as much); emptying a slot when a stage is interrupted (a
// device on a bad line would never finish); writing a record's copy in place (on flash translation layers a
// torn write can take neighbouring blocks with it; a rename costs one directory
// sync more and keeps the old copy readable until the new one is whole); one
// copy only (rename protects against power cuts, not against bad blocks);
// SQLite or bbolt for the record (a format that every agent ever shipped must
// read has to be describable in six lines).
package slots
