package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/agent/config"
	"slipstream/agent/supervise"
	"slipstream/slots"
)

// machine is what the kernel and the hardware can do.
func machine(cfg config.Config) []probe {
	all := []probe{
		{"kernel", "", true, kernel},
		{"pidfd", "end and adopt processes without ever meeting another one of their number", true, pidfd},
		{"memfd-seals", "hand an application's state to the next version whole", false, seals},
		{"robust-futex", "show the end of a large application before its memory is freed", false, robustFutex},
		{"fifo", "let the forwarder's thread go before all others, so that a busy machine costs viewers nothing", false, fifo},
		{"udp-gso", "send a frame to a viewer in one system call", false, gso},
		{"cgroup", "freeze, count and end everything that an application has started", false, func() error { return cgroup(cfg) }},
		{"cgroup-limits", "bound an application's memory, processes and CPU", false, func() error { return controllers(cfg) }},
		{"landlock", "keep an application out of files that are none of its own", false, landlock},
		{"mount-namespace", "show an application its own slot only", false, mountNamespace},
	}
	brings := map[string]string{
		slots.CapabilityLoop: "mount images in place of unpacking them", slots.KindErofs: "run packages of this kind",
		slots.KindSquashfs: "run packages of this kind", slots.CapabilityVerity: "check every block of an image whenever it is read",
	}
	for _, c := range slots.Capabilities() {
		if text, told := brings[c.Name]; told {
			all = append(all, probe{c.Name, text, false, func() error { return c.Err }})
		}
	}
	return append(all,
		probe{"watchdog", "start the device anew when its kernel hangs", false, func() error { return watchdog("/", cfg.System) }},
		probe{"clock", "", false, clock},
		probe{"memory", "", false, memory},
	)
}

// The oldest kernel that is supported, and the one that is tested.
const oldest, tested = "5.10", "6.1"

func kernel() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	release := unix.ByteSliceToString(u.Release[:])
	if !atLeast(release, oldest) {
		return fmt.Errorf("the kernel is %s; Slipstream needs %s, and is tested with %s", release, oldest, tested)
	}
	return noticef("%s on %s; Slipstream needs %s", release, runtime.GOARCH, oldest)
}

// atLeast compares the first two numbers of releases.
func atLeast(release, least string) bool {
	major, minor := numbers(release)
	leastMajor, leastMinor := numbers(least)
	return major > leastMajor || major == leastMajor && minor >= leastMinor
}

func numbers(release string) (major, minor int) {
	first, rest, _ := strings.Cut(release, ".")
	major, _ = strconv.Atoi(first)
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	minor, _ = strconv.Atoi(rest[:end])
	return major, minor
}

func pidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("the kernel gives no descriptors of processes: %w", err)
	}
	return unix.Close(fd)
}

func seals() error {
	fd, err := unix.MemfdCreate("doctor", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("the kernel makes no memory that can be sealed: %w", err)
	}
	defer unix.Close(fd)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
		return fmt.Errorf("memory cannot be sealed: %w", err)
	}
	return nil
}

func robustFutex() error {
	var head, size uintptr
	if _, _, errno := unix.Syscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&size))); errno != 0 {
		return fmt.Errorf("the kernel keeps no list of a thread's locks: %w", errno)
	}
	return nil
}

// apart runs f on a thread of its own, which ends with what it was given.
func apart(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- f()
	}()
	return <-done
}

func fifo() error {
	err := apart(func() error {
		return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	})
	if err != nil {
		return fmt.Errorf("real-time scheduling is not allowed here (CAP_SYS_NICE or RLIMIT_RTPRIO): %w", err)
	}
	return nil
}

func gso() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 1200); err != nil {
		return fmt.Errorf("the kernel cuts no message into datagrams: %w", err)
	}
	return nil
}

// cgroup makes a place of its own, apart from the agent's.
func cgroup(cfg config.Config) error {
	groups, err := supervise.NewGroups(cfg.Cgroup, filepath.Join(cfg.Run, ".doctor"))
	if err != nil {
		return err
	}
	defer groups.Remove()
	g, err := groups.Make("doctor")
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(g.Path(), "cgroup.kill"))
	if err := errors.Join(g.Freeze(), g.Thaw(), g.End()); err != nil {
		return err
	}
	if err != nil {
		return degradedf("cgroups freeze, but an application's processes are ended one by one: the kernel is older than 5.14")
	}
	return nil
}

// controllers looks at what the place of the groups may bound.
func controllers(cfg config.Config) error {
	groups, err := supervise.NewGroups(cfg.Cgroup, filepath.Join(cfg.Run, ".doctor"))
	if err != nil {
		return err
	}
	defer groups.Remove()
	g, err := groups.Make("doctor")
	if err != nil {
		return err
	}
	defer func() { _ = g.End() }() // empty: nothing was started in it
	parent := filepath.Dir(filepath.Dir(g.Path()))
	raw, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
	if err != nil {
		return err
	}
	there := strings.Fields(string(raw))
	var lacking []string
	for _, want := range []string{"memory", "pids", "cpu"} {
		if !slices.Contains(there, want) {
			lacking = append(lacking, want)
		}
	}
	switch len(lacking) {
	case 0:
		return nil
	case 3:
		return fmt.Errorf("the cgroup %s has no controllers", parent)
	}
	return degradedf("the cgroup %s does not bound %s", parent, strings.Join(lacking, " and "))
}

func landlock() error {
	const versionOnly = 1 // LANDLOCK_CREATE_RULESET_VERSION
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, versionOnly)
	if errno != 0 {
		return fmt.Errorf("the kernel has no Landlock, or it is not switched on: %w", errno)
	}
	return noticef("version %d of its interface: it keeps an application out of files that are none of its own", abi)
}

func mountNamespace() error {
	if err := apart(func() error { return unix.Unshare(unix.CLONE_NEWNS) }); err != nil {
		return fmt.Errorf("a mount namespace cannot be made here (CAP_SYS_ADMIN): %w", err)
	}
	return nil
}

// clock looks at the steadiness of the one and the truth of the other.
func clock() error {
	const unsynchronised = 0x40 // STA_UNSYNC
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return err
	}
	source, _ := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	name := strings.TrimSpace(string(source))
	switch {
	case name == "jiffies" || name == "refined-jiffies":
		return degradedf("the kernel's clock is %s: times are only as exact as its tick", name)
	case state < 0 || t.Status&unsynchronised != 0:
		return degradedf("the wall clock is not synchronised; nothing is decided by it, but the history's times may be wrong")
	}
	return noticef("synchronised, from %s", name)
}

// Memory that both versions of an application need beside each other.
const fullMemory = 256 << 20

func memory() error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	total := wide(info.Totalram) * wide(info.Unit)
	if total < fullMemory*9/10 {
		return degradedf("%d MiB; below 256 MiB let packages say overlap frozen or none", total>>20)
	}
	return noticef("%d MiB, of which two versions want 256", total>>20)
}

// wide takes a field that has another size on machines of 32 bits.
func wide[T uint32 | uint64](n T) uint64 { return uint64(n) }
