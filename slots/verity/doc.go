// Package verity computes, checks and uses the hash trees of the kernel's
// dm-verity target, so that every block of an image is checked when it is read.
//
// It keeps one promise: what [Check] accepts and [Open] opens is the data that
// the root hash stands for, and nothing else.
//
// # Format
//
// Hash format 1, SHA-256, data and hash blocks of 4096 bytes, one salt (the
// kernel's Documentation/admin-guide/device-mapper/verity.rst):
//
//	image:  data blocks | [superblock, one block] | tree, from its root down
//
// A hash is SHA-256(salt ‖ block). A block of the tree holds 128 hashes, the last
// of a level is filled up with zeros. The lowest level has the hashes of the data,
// each above it those of the one below, and the root hash is that of the only
// block of the highest. A single data block has no tree: its hash is the root.
//
// Everything that is needed to check an image comes from [Params], which are
// signed. The superblock is for people with veritysetup and is never read here.
//
// # What it does not do
//
// No forward error correction, and no restart of the machine when a block is
// wrong: its reader gets EIO. [Open] speaks to device-mapper alone and leaves the
// device node to devtmpfs; udev is not needed, and not waited for.
//
// Rejected: libdevmapper and veritysetup (neither is in a small root file system,
// and five orders to the kernel are less than a program to find); the superblock as
// the source of anything (it is not signed by itself); other hashes and block
// sizes (a choice is one more thing to attack, and 4096 is the page everywhere
// that we run).
package verity
