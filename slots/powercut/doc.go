// Package powercut proves that code survives a power cut at any instant. It is for
// tests only.
//
// It keeps one promise: a state that it calls possible is one that POSIX allows a
// disk to be in, and code that survives all of them needs no luck.
//
// A [Disk] is a file system in memory, mounted through FUSE, on which the real code
// runs with its real system calls. It writes down, in order, everything that
// changes it and every flush. From that [Log] the model makes, for each instant,
// the states that the disk may be found in, and [Explorer] starts the code again in
// each of them.
//
// # What the model believes
//
// After a flush of a file (fsync, fdatasync, O_SYNC) its content and its length are
// there; after fsync its owner and mode too. After fsync of a directory its entries
// are there. Nothing else is: fsync of a file does not save its name, and a
// directory's does not save what is in the file. Every change that was not flushed
// is there or not, whatever became of the others before and after it, but that
//
//   - a rename is one change: both of its names have changed, or neither;
//   - two changes of one name that are both there happened in their order;
//   - a file is torn at sectors of 512 bytes and nowhere else: each sector holds
//     what it held after any one of the writes to it, or before them. One that did
//     not exist at the last flush, or that was cut off since, may hold zeros;
//   - the length is any that the file has had since its last flush.
//
// ext4, xfs, btrfs and f2fs all promise more, each in another way. A directory that
// is renamed from one to another is saved by fsync of either, since it is one
// change.
//
// # How the states are chosen
//
// All of them where they are few. Else first the borders: nothing that was not
// flushed is there; all is; one thing only; all but one; and then a random sample,
// which a seed makes the same each time. States that are the same on disk are tried
// once. How many states of a cut are tried at most is the test's choice
// ([Explorer.Limit]); with the flag Full each cut has from 64 of them, where a whole
// agent is started in each, to 8192.
//
// # What it does not do
//
// It does not know of syncfs and sync: the kernel does not tell FUSE. Nor does it
// record writes through a shared mapping where they happen; it sees them when the
// kernel writes them back. It does not lie about flushes, as broken flash does.
//
// The file system is served by a process of its own: this binary, started anew. A
// page of a mapped file that is read in by the process that serves it can wait for
// a garbage collection that waits for the page.
//
// Rejected: a layer in the code under test through which all writes go (it tests
// the layer, and what goes around it is not seen: bbolt, syscalls, another
// process); dm-log-writes and dm-flakey (not in every kernel, and they know no
// files, so that a run depends on what ext4 happens to do).
package powercut
