package machine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Sizes of the partitions, in MiB. A system's image is as large as its partition.
const (
	systemMB = 48
	dataMB   = 192
)

const mib = 1 << 20

// Faults of a system.
const (
	FaultNone   = "none"
	FaultPanic  = "panic"  // the kernel panics as soon as there is user space
	FaultHang   = "hang"   // nothing is started, and nothing ends
	FaultNoInit = "noinit" // its first process ends at once
)

// System is one version of what lies in a system slot.
type System struct {
	Version string
	Fault   string            // "" is [FaultNone]
	By      string            // whose the greenlight is; "" is that of [SystemTerms]
	Files   map[string][]byte // more files, by path; they replace what is there
	Links   map[string]string // the same of symbolic links: where they lead

	seal func(ctx context.Context, boot string) error // signs what is in its directory boot; nil: nobody does
}

// Write makes the image of a system: what is flashed into a slot.
func (k *Kit) Write(ctx context.Context, s System, to string) error {
	t := tree{}
	fault := cmp.Or(s.Fault, FaultNone)
	switch fault {
	case FaultNone, FaultPanic, FaultHang:
	case FaultNoInit:
		t.file("init", 0o755, []byte("#!/bin/sh\nexit 1\n"))
	default:
		return fmt.Errorf("a system has no fault %q", s.Fault)
	}
	t.file("etc/rig/version", 0o644, []byte(s.Version+"\n"))
	t.file("etc/rig/fault", 0o644, []byte(fault+"\n"))
	for name, data := range s.Files {
		t.file(name, 0o644, data)
	}
	for name, to := range s.Links {
		t.link(name, to)
	}
	own, err := t.packed()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "slipstream-system-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	boot := filepath.Join(dir, "boot")
	// The kernel reads one archive after another; later files replace earlier ones.
	initrd := append(bytes.Clone(k.base), own...)
	err = errors.Join(os.Mkdir(boot, 0o755),
		os.WriteFile(filepath.Join(boot, "initrd"), initrd, 0o644),
		k.writeKernel(filepath.Join(boot, "kernel")))
	if err != nil {
		return err
	}
	if s.seal != nil {
		if err := s.seal(ctx, boot); err != nil {
			return err
		}
	}
	// U-Boot's reader knows neither of these features.
	return ext4(ctx, to, systemMB, dir, "-O", "^metadata_csum,^64bit,^has_journal")
}

// writeKernel copies the kernel, packed where it does not unpack itself: the slot is
// written and read back at each update.
func (k *Kit) writeKernel(to string) error {
	kernel := filepath.Join(k.debian(), "kernel")
	in, err := os.Open(kernel)
	if err != nil {
		return err
	}
	defer in.Close()
	if !k.Arch.packed {
		return copyTo(to, in, 0o644)
	}
	packed := kernel + ".gz"
	if _, err := os.Stat(packed); err != nil {
		var out bytes.Buffer
		if err := compress(&out, func(w io.Writer) error { _, err := io.Copy(w, in); return err }); err != nil {
			return err
		}
		if err := os.WriteFile(packed+".new", out.Bytes(), 0o644); err != nil {
			return err
		}
		if err := os.Rename(packed+".new", packed); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(packed)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// ext4 makes a file system of a size with what is in a directory. All of it is root's,
// whoever makes it.
func ext4(ctx context.Context, to string, sizeMB int, dir string, args ...string) error {
	mkfs, err := find("mkfs.ext4")
	if err != nil {
		return err
	}
	args = append([]string{"-q", "-F", "-m", "0", "-d", dir, "-U", "clear", "-E", "lazy_itable_init=0"}, args...)
	cmd := exec.CommandContext(ctx, mkfs, append(args, to, fmt.Sprintf("%dM", sizeMB))...)
	if id := os.Geteuid(); id != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: id, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
	}
	_, err = output(cmd, "")
	return err
}
