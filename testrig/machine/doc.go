// Package machine emulates whole cameras: ARM machines in QEMU with a boot loader,
// a kernel, partitions and the product installed on them as it ships.
//
// It keeps one promise: a machine ends with whoever started it. QEMU is a child that
// the kernel kills when its parent dies, what it listens on are ports of loopback, and
// its network is sealed: the guest reaches nothing, and only the rig reaches it.
//
// # What a machine is
//
//	QEMU's board "virt" with a Cortex-A53 (arm64) or a Cortex-A7 (arm)
//	flash 0   U-Boot, as Debian's u-boot-qemu has it
//	flash 1   its environment, read-only: start_slot and recovery
//	disk      GPT:  bootsel   boot.TrialScript, which chooses the slot
//	                ubstate   two copies of its state, see package boot
//	                system-a, system-b, recovery   ext4 with boot/kernel and boot/initrd
//	                data      /var/lib/slipstream
//
// The kernel is Debian's, taken out of its package: no foreign architecture is added to
// this machine, and nothing is installed. The root file system is the initial one: a
// busybox, the product's programs where its Debian package has them, its init script,
// and the hand (guest/), by which the rig runs commands and puts files there. What is
// fetched and built lies in build/machine and is used again.
//
// In place of the initial one a machine can have Debian's own root file system with
// systemd, on a second disk ([Factory.Debian]). That is made here, too: its packages are
// unpacked and noted as installed, none of their scripts runs, and what those would have
// done is little. Slipstream comes into it as its Debian package alone. And a machine can
// have a boot loader that starts nothing but what is signed ([Factory.Signed]): the key lies
// in its device tree, its script in the flash.
//
// Viewers come in by forwarded ports. QEMU's sealed network lets no datagram out, so
// those of WHEP viewers go through a connection to the hand and come out in the guest. What
// the guest may call outside ([Machine.Reach]) it reaches by connections that were lent to
// it from there.
//
// # Times
//
// Emulation is slow and stutters: a boot takes from 5 seconds to a minute, and nothing
// may be judged by limits below a second. Every wait here is for an event and bounded
// by the caller's context alone. [Machine.Keep] makes a file of a machine that is up, and
// [Resume] goes on from it in a second or two, as often as one likes.
//
// # What it does not do
//
// A cut of the power takes what the guest has not yet handed to its disk, and nothing
// that the disk has not yet flushed: for that see testrig/powercut, whose disks [NewOn]
// takes. A kernel that hangs before the watchdog is open is not started anew by anything
// but the rig.
//
// Rejected: a kernel started by QEMU itself (the boot loader is half of what is tested);
// AAVMF and systemd-boot (12 s a boot, and few cameras have it); dracut and debootstrap
// (minutes, and nothing to learn from them; the second stage of Debian's installation in
// the machine takes as long); the serial console for commands (the
// kernel's own lines come in between).
package machine
