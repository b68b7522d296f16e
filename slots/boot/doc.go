// Package boot tells a boot loader which system slot to start.
//
// It keeps these promises, whatever the boot loader counts:
//
//   - A trial has one try. However the boot after it comes about, that boot
//     starts the permanent slot, unless [Control.Commit] came before.
//   - A power cut within a change leaves the state before or the one after.
//   - A healthy reboot writes nothing, neither here nor in the boot scripts that
//     come with the package. (RAUC's own script writes at each boot.)
//   - The permanent slot is never disabled, and a slot that is not bootable is
//     never started.
//   - If both slots are bad the boot loader goes to a recovery and does not loop.
//     [State].Recovery says that it will.
//
// The active record (package slots) alone says what is permanent; the boot
// loader's state follows it. [Reconcile] brings the two into agreement where a
// power cut came between them. If it then says that the permanent slot is not
// the one that is running, a reboot goes there.
//
// # Who writes when
//
//	Try, Commit, Cancel, Disable   the running system: one copy, synced, read back
//	                               past the page cache; nothing if it is so already
//	the boot loader                before it starts a slot on trial (the try is
//	                               spent before the jump), and at the boot after a
//	                               trial that was not ended
//
// # Storage
//
// [NewEnv] keeps variables in a U-Boot environment, in a partition or a file:
//
//	Redundant (two copies)         Sequence (two copies)       Single
//	0  CRC-32, little endian       0  CRC-32                   0  CRC-32
//	4  flag, counted up, wraps     4  name=value\0 …           4  name=value\0 …
//	5  name=value\0 …                 with st_seq=HEX             \0, zeros
//	   \0, zeros                      \0, zeros
//
// The CRC is of all that follows it, without the flag. In Redundant the copy
// with the higher flag holds, and 0 is higher than 255; in Sequence the one with
// the higher st_seq; if they are equal, the first. A change is one write of the
// older copy, or of one that is not whole; the newer one is not touched. What
// else is in the environment stays as it is, byte for byte and in its place. An
// environment may have 64 bytes to 1 MiB and is refused when it is full. The
// formats are those of fw_setenv (libubootenv), whose configuration
// [ParseFWEnvConfig] reads and whose lock is taken: both may be used on one
// device. Flash chips without a controller (MTD, UBI) are refused.
//
// Single is overwritten in place, so that a power cut then loses it. That is no
// worse than with U-Boot's own saveenv, and no better.
//
// [NewFile] keeps the same variables as lines of a text file that is replaced by
// a rename; "# end" is its last line.
//
// [NewEntries] keeps the state in the names of systemd-boot's entries:
//
//	slipstream-4-a.conf        permanent: the highest rank that is not on trial
//	slipstream-5-b+1.conf      on trial, not yet started
//	slipstream-5-b+0-1.conf    on trial, its try is spent: it sorts last
//	slipstream-3-b.conf        bootable: a lower rank
//	slipstream-3-b.off         not bootable: systemd-boot does not see it
//	slipstream-recovery.conf   the recovery: below all numbers, above spent tries
//
// Every change is one rename and a sync of the directory. On a FAT a rename that
// is cut may leave both names, of which the one counts that systemd-boot would
// start; the next change writes the entry anew, since the two share clusters.
//
// # Dialects
//
// [Order]: BOOT_ORDER, BOOT_A_LEFT and BOOT_B_LEFT as in RAUC's contrib/uboot.sh,
// hexadecimal. Try makes the order "B A" with one try for B and the full three
// for A; what is not bootable is not in the order and has no tries. slip_good
// says which one is permanent. [OrderScript] counts only what has less than three
// tries; RAUC's script counts always, so that a healthy slot needs a Reconcile
// at every start, and gives all tries back when none are left, which is the loop
// that OrderScript ends in a recovery instead. If nobody reconciles, RAUC's
// script uses up the permanent slot's tries, and may then start a slot whose
// trial failed.
//
// [BootCount]: U-Boot's CONFIG_BOOTCOUNT_LIMIT with CONFIG_BOOTCOUNT_ENV. While
// upgrade_available is not 0, drivers/bootcount/bootcount_env.c adds one to
// bootcount and saves the environment at each boot; otherwise bootcount is 0 and
// nothing is saved. Then common/autoboot.c runs altbootcmd in place of bootcmd if
// bootlimit is not 0 and bootcount is above it (bootcount_error of
// include/bootcount.h). So Try sets bootcount=0 and bootlimit=1: the first boot
// counts to 1 and is the try, the second counts to 2 and goes back. The slot
// variable means the slot on trial while upgrade_available is set, and the
// permanent one is the other. A counter elsewhere than in the environment (a
// register, an EEPROM) counts healthy boots too and is not for this dialect.
//
// [Trial]: st_good, st_try, st_tries, and st_failed for a slot that is not to be
// started. Made for the purpose; [TrialScript] keeps it in a partition of its
// own, so that it needs no saveenv.
//
// # What a boot script must do
//
// Choose as above; spend the try and save before the jump; if the chosen slot
// cannot be loaded, start the other one in the same boot if it is bootable, and
// otherwise run the recovery. [TrialScript], [OrderScript], [BootCountEnv] and
// [InitScript] do, and need two things of the vendor: start_slot and recovery. The
// tests run them in a real U-Boot, and in sh.
// systemd-boot needs "default slipstream-*" in loader.conf, entries without a
// sort-key, systemd-bless-boot.service masked (it would end each trial as a
// success without a greenlight), no default set in an EFI variable by "bootctl
// set-default", and the recovery also as the firmware's next boot option, since
// an entry that cannot be loaded goes back there.
//
// # What it does not do
//
// A permanent slot that loads and dies later, again and again, is not noticed:
// counting that would write at every healthy boot. The watchdog and the agent
// (its restart intensity) are for that; or RAUC's script, at that price. It does
// not help against storage that lies about flushes.
//
// # Lost state
//
// [ErrNoState] means that every copy was read and none is whole; U-Boot then
// runs with the environment it was built with. [Control.Commit] and [Reconcile]
// make a new state with the permanent slot as the only bootable one: in
// Sequence, files and entries from nothing, in U-Boot's own environment from
// EnvConfig.Initial, for it has to hold all else that the boot loader needs.
// A storage that cannot be read at all is another error, and nothing is made.
//
// Rejected: a trial by LoaderEntryOneShot (one try by nature, but state in two
// places, in a flash that wears and with efivarfs to be mounted); loader.conf's
// "default" rewritten per trial (not spent before the jump); renaming two entries
// per change (a state between them); more than one try (a camera that needs two
// is not to be made permanent); three tries for a slot that is on trial, counted
// down by the script, as RAUC has it; calling fw_setenv (a program less to trust,
// no bounded wait, and it reads nothing back); saving the environment in both
// copies at each change (the second write is the first one's only backup).
package boot
