// Package powercut cuts the power of whole cameras, at the level of their disk: with a
// real boot loader, a real kernel and a real file system between it and the product.
//
// It keeps one promise: what it calls good was found on a disk, in each state that the
// power's failure may leave there, by the kernel that mounted it and by this package's own
// reading of the rest.
//
// # Every instant of a recorded life
//
// [Record] lets an emulated camera live through updates of its application (one of them
// taken back) and of its system, with its reboot and its commit, while QEMU's blklogwrites
// writes down what the virtual disk is told, by U-Boot and Linux alike, in the format of
// dm-log-writes. [ReadLog] reads it, and an [Explorer] cuts the power behind each entry:
//
//	flushed     what was written before a flush that was answered, and FUA writes
//	the rest    is lost; kept; kept but for the end of the last write; lost but for the
//	            last write; and kept, lost or torn as a seed wants, each write for itself
//
// Writes are torn between sectors of 512 bytes. In the data partition two of them stay
// together: ext4 writes its superblock in place, takes it to be written whole, and cannot
// be mounted with two halves of which one is old (this search has found it).
//
// Each state is looked at without booting, ten a second on two cores with much else to
// do: GPT, the boot loader's state with its CRCs, and the data partition, which the
// kernel mounts (and so plays its journal back) from a file in memory, in no namespace, so
// that nothing of it outlives the process. It must say
//
//   - which system and application are permanent, in a record that can be read, and that
//     is one that the story allows: before the greenlight the old one, from the moment at
//     which the agent said so the new one, and never back from what was certain once;
//   - that their slots are staged, with the digests that the record names, and whatever
//     slot says that it is staged is whole to the last byte;
//   - that the boot loader starts nothing that is not, has its permanent slot bootable, and
//     agrees with the record when the agent has said that all is done;
//   - that the agent's journal is a sound database.
//
// # Real boots
//
// A [Walk] has a camera on a disk that forgets: a server of the network block device
// protocol, to which QEMU connects through a unix socket. Behind a write that a seed
// chooses, in an update or while the machine comes up, it falls silent, keeps what was
// flushed and what chance leaves of the rest, and QEMU is killed. What is left is looked at
// as above, and booted: it must come up with what the disk said, show pictures, complain of
// nothing, and bring the boot loader into agreement. Then it is updated again, and so on:
// what one cut has left the next life begins with.
//
// # Builds with a fault
//
// A search that finds nothing may be blind. [Faults] are builds in which a flush is left
// out, by an overlay of the Go tool, in directories of their own: each must be found out,
// one (of what is said of a slot) by a whole camera, and with those of the active record and
// of the boot loader's state by a small device. On one disk with ext4 a flush covers all
// that was handed to the disk before it, and a rename over a file flushes that file: in a
// whole camera the trust state and the other files that are written with a commit save its
// record as well, and an image is saved by the read back past the page cache and the next
// word on its slot. That each flush is needed for what POSIX promises shows package
// slots/powercut, which knows files and no disk.
//
// # In the tests
//
// The command flash writes as a device does, with the same code, to a small disk of 23 MiB
// that qemu-storage-daemon serves and records, through the kernel's loop devices and ext4:
// no machine, and all of the searching and judging. `make rig-powercut` is the whole of it.
//
// # What it does not do
//
// A write that the disk answers while a flush is under way counts as flushed if it was
// answered first, though a disk need not have it. Disks do not lie about flushes here, and
// none fails otherwise. The guest's memory is not looked at.
//
// Rejected: e2fsck and debugfs in place of the kernel (a hundred milliseconds a state, and
// not what a device does); a reader of ext4 in Go (it would be judged along); snapshots to
// resume from (QEMU has none for a disk that is served).
package powercut
