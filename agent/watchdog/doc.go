// Package watchdog arms the hardware watchdog of a device: a clock that starts the device
// anew if nobody feeds it in time, whatever the kernel or its programs do meanwhile.
//
// It keeps one promise: a watchdog that was armed here stops at [Dog.Disarm] and at
// nothing else. A process that ends without it, by whatever cause, leaves it running, and
// so the device is started anew unless a successor arms it again in time. Two kinds of
// drivers break that promise, and [Dog.Weakness] says so: one that stops at every close
// (it does not know the magic 'V'), and one that stops when the kernel goes down for a
// reboot, which no program can see beforehand.
//
// What it guards is told by whoever feeds it: feed it from what must live, and not from a
// goroutine of its own.
//
// # What the kernel does beside
//
// A watchdog that runs when the kernel starts, because the boot loader or the life before
// has armed it, is fed by the kernel until a program opens it (CONFIG_WATCHDOG_HANDLE_BOOT_ENABLED).
// So a system that hangs before its first program opens it may hang for ever: the kernel's
// parameter watchdog.open_timeout=SECONDS bounds that. Whether a watchdog goes on over a reboot is
// the driver's decision (WDOG_STOP_ON_REBOOT), unless watchdog.stop_on_reboot=0 is given.
//
// # What is tested where
//
// The fake of package watchdogtest keeps the rules of the kernel's watchdog_dev.c as they are
// documented in Documentation/watchdog: one opener, magic close, nowayout, refused and rounded
// timeouts. It lies in one point: its clock is asked, and ends nothing. That a real
// one (i6300esb, arm64) starts the device anew is the rig's to show; no machine without one can.
//
// Rejected: softdog as a stand-in (a dead kernel feeds it no less than a living one);
// pretimeouts (a panic with words, which a device without a console tells nobody); systemd's
// RuntimeWatchdogSec by itself (it guards systemd, which goes on in a system whose agent hangs).
package watchdog
