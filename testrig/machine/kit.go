package machine

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slipstream/testrig/device"
)

// Kit is what machines of one architecture are made of: Debian's kernel and busybox, and
// the product's programs.
type Kit struct {
	Arch Arch
	Bin  string // directory of the programs for the guest, the sample camera among them

	dir     string // what is kept
	overlay string // the Go tool's, for the programs; "": none
	base    []byte // the initial file system that all systems have, packed
}

// rootFiles are what lies in the guest's root beside the programs.
//
//go:embed all:root
var rootFiles embed.FS

// programs are built for the guest. Those of the product go where its package has them.
var programs = []string{
	"./agent/cmd/slipstream", "./agent/cmd/slipstream-start",
	"./stream/cmd/slipstream-forward", "./stream/cmd/slipstream-gateway", "./stream/cmd/slipstream-ingest",
	"./testrig/camera/cmd/slipstream-camera", "./testrig/machine/guest",
}

// libDir is where the product's programs lie in the guest.
const libDir = "usr/lib/slipstream"

// Init is the product's script for busybox init, in the repository.
const initScript = "agent/dist/S90slipstream"

// NewKit gets together what machines of an architecture need, from what is kept in
// build/machine where it is there; say is told what takes a while.
func NewKit(ctx context.Context, arch Arch, say func(format string, args ...any)) (*Kit, error) {
	if err := arch.need(); err != nil {
		return nil, err
	}
	repository, err := device.ModuleRoot(ctx)
	if err != nil {
		return nil, err
	}
	k := &Kit{Arch: arch, dir: filepath.Join(repository, "build", "machine", arch.Name)}
	k.Bin = filepath.Join(k.dir, "bin")
	if err := os.MkdirAll(k.Bin, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(k.dir, ".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := k.fetch(ctx, say); err != nil {
		return nil, err
	}
	say("building the programs for %s", arch.Name)
	if err := k.build(ctx, repository); err != nil {
		return nil, err
	}
	return k, k.pack(repository)
}

// Overlaid is the same kit with programs of which some files are replaced: overlay is a
// file as "go build -overlay" takes it. They lie in bin, which belongs to the caller, so
// that they never get in the place of those as they ship.
func (k *Kit) Overlaid(ctx context.Context, overlay, bin string) (*Kit, error) {
	repository, err := device.ModuleRoot(ctx)
	if err != nil {
		return nil, err
	}
	other := *k
	other.Bin, other.overlay = bin, overlay
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	if err := other.build(ctx, repository); err != nil {
		return nil, err
	}
	return &other, other.pack(repository)
}

// lock makes other processes wait for this one.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { f.Close() }, nil
}

func (k *Kit) debian() string { return filepath.Join(k.dir, "debian") }

// fetch takes the kernel and busybox out of Debian's packages, once.
func (k *Kit) fetch(ctx context.Context, say func(string, ...any)) error {
	if _, err := os.Stat(k.debian()); err == nil {
		return nil
	}
	say("fetching Debian's kernel and busybox for %s", k.Arch.Name)
	apt, err := os.MkdirTemp(k.dir, "apt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(apt)
	archive, err := newArchive(ctx, k.Arch, apt)
	if err != nil {
		return err
	}
	debs, err := archive.fetch(ctx, k.Arch.kernel, "busybox-static")
	if err != nil {
		return err
	}
	whole, err := os.MkdirTemp(k.dir, "debian-")
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := extract(ctx, deb, whole, wanted); err != nil {
			return errors.Join(err, os.RemoveAll(whole))
		}
	}
	return os.Rename(whole, k.debian())
}

// wanted are the files of Debian's packages that are used.
func wanted(name string) (string, bool) {
	base := filepath.Base(name)
	switch {
	case strings.HasPrefix(base, "vmlinuz-"):
		return "kernel", true
	case name == "bin/busybox":
		return "busybox", true
	}
	return filepath.Join("modules", base), strings.HasSuffix(base, ".ko")
}

func (k *Kit) build(ctx context.Context, repository string) error {
	args := append([]string{"build", "-trimpath", "-overlay=" + k.overlay, "-ldflags", "-s -w", "-o", k.Bin + string(filepath.Separator)}, programs...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), k.Arch.environment()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs for %s: %w\n%s", k.Arch.Name, err, out)
	}
	return nil
}

// pack makes the initial file system of all systems.
func (k *Kit) pack(repository string) error {
	t := tree{}
	t.device("dev/console", 5, 1) // the kernel opens it before anybody could make it
	t.link("init", "bin/busybox")
	t.link("bin/sh", "busybox")
	for _, dir := range []string{"proc", "sys", "run", "tmp", "sbin", "usr/bin", "usr/sbin"} {
		t.dir(dir)
	}
	t.link("usr/bin/slipstream", "../lib/slipstream/slipstream")
	from := map[string]string{
		"bin/busybox":              filepath.Join(k.debian(), "busybox"),
		"usr/lib/rig/hand":         filepath.Join(k.Bin, "guest"),
		"etc/init.d/S90slipstream": filepath.Join(repository, initScript),
	}
	for _, program := range programs {
		if name := filepath.Base(program); !strings.HasPrefix(program, "./testrig/") {
			from[libDir+"/"+name] = filepath.Join(k.Bin, name)
		}
	}
	for name, path := range from {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		t.file(name, 0o755, data)
	}
	err := errors.Join(k.addRoot(t), k.addModules(t))
	if err == nil {
		k.base, err = t.packed()
	}
	return err
}

func (k *Kit) addRoot(t tree) error {
	return fs.WalkDir(rootFiles, "root", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := rootFiles.ReadFile(path)
		if err != nil {
			return err
		}
		perm := fs.FileMode(0o644)
		if bytes.HasPrefix(data, []byte("#!")) {
			perm = 0o755
		}
		t.file(strings.TrimPrefix(path, "root/"), perm, data)
		return nil
	})
}

// moduleOptions are words for drivers. From the watchdog's being open until the agent
// has it a boot takes seconds, and minutes where much else goes on. Of the video devices
// that vivid plays only a sensor is of use here.
var moduleOptions = map[string]string{
	"i6300esb": "heartbeat=" + strconv.Itoa(watchdogS), "vivid": "n_devs=1 node_types=0x1",
}

// addModules puts the drivers in, and the order in which to load them.
func (k *Kit) addModules(t tree) error {
	all, err := findModules(filepath.Join(k.debian(), "modules"))
	if err != nil {
		return err
	}
	files, err := all.order(k.Arch.modules()...)
	if err != nil {
		return err
	}
	var order strings.Builder
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		t.file("lib/modules/"+name, 0o644, data)
		fmt.Fprintln(&order, name, moduleOptions[strings.TrimSuffix(name, ".ko")])
	}
	t.file("lib/modules/order", 0o644, []byte(order.String()))
	return nil
}

// packed is the tree as a compressed archive.
func (t tree) packed() ([]byte, error) {
	var out bytes.Buffer
	err := compress(&out, t.write)
	return out.Bytes(), err
}

func compress(to io.Writer, write func(io.Writer) error) error {
	z, err := gzip.NewWriterLevel(to, gzip.BestSpeed)
	if err != nil {
		return err
	}
	return errors.Join(write(z), z.Close())
}
