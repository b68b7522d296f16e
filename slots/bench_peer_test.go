package slots_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// run runs a program and returns what it printed.
func (b *slotsBench) run(env []string, name string, args ...string) string {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = b.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func (b *slotsBench) write(name, text string) string {
	b.Helper()
	path := filepath.Join(b.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		b.Fatal(err)
	}
	return path
}

// rauc installs the same payload with RAUC as Debian has it: a plain bundle into a
// raw slot on the same partition. It reads nothing back.
func (b *slotsBench) rauc() {
	device := b.partition()
	b.remove("bundle", "payload.raucb", "rauc")
	b.write("bundle/manifest.raucm", "[update]\ncompatible=bench\nversion=1\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=rootfs.img\n")
	if err := os.Link(b.image, filepath.Join(b.dir, "bundle", "rootfs.img")); err != nil {
		b.Fatal(err)
	}
	b.run(nil, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=bench", "-days", "30")
	b.run(nil, "rauc", "bundle", "--cert=cert.pem", "--key=key.pem", "bundle", "payload.raucb")
	conf := b.write("system.conf", fmt.Sprintf("[system]\ncompatible=bench\nbootloader=noop\nmountprefix=%s/rauc\n"+
		"[keyring]\npath=%s/cert.pem\n[slot.rootfs.0]\ndevice=/dev/null\ntype=raw\nbootname=A\n[slot.rootfs.1]\ndevice=%s\ntype=raw\nbootname=B\n",
		b.dir, b.dir, device))
	bus := b.write("bus.conf", fmt.Sprintf(`<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s/bus.sock</listen>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/></policy></busconfig>`, b.dir))
	env := []string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + b.dir + "/bus.sock"}
	b.start(env, "dbus-daemon", "--nofork", "--config-file="+bus)
	b.until(func() bool { _, err := os.Stat(b.dir + "/bus.sock"); return err == nil })
	b.start(env, "rauc", "service", "--conf="+conf, "--override-boot-slot=A")
	b.until(func() bool {
		cmd := exec.Command("rauc", "status")
		cmd.Env = append(os.Environ(), env...)
		return cmd.Run() == nil
	})
	for range b.runs {
		begun := time.Now()
		b.run(env, "rauc", "install", "payload.raucb")
		b.note("rauc plain, partition", cost{Seconds: time.Since(begun).Seconds()})
	}
}

// start runs a program until the benchmark ends.
func (b *slotsBench) start(env []string, name string, args ...string) {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = b.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil || b.Failed() {
			b.Logf("%s: %v\n%s", name, err, out.String())
		}
		_ = cmd.Wait() // ended by us
	})
}

func (b *slotsBench) until(ready func() bool) {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatal("it does not start")
		}
	}
}

// What the root file system of the benchmark is made of, and which of that a
// security patch brings anew: Debian has those in two versions.
var (
	rootPackages = strings.Fields("libc6 libc-bin coreutils bash libsystemd-shared systemd udev libglib2.0-0 " +
		"libavcodec59 libavformat59 libavutil57 libavfilter8 libx264-164 libx265-199 libcrypto++8 " +
		"perl-base python3.11-minimal libpython3.11-minimal libpython3.11-stdlib ca-certificates tzdata iproute2 util-linux")
	patchedPackages = strings.Fields("openssl libssl3 nginx curl libcurl4")
)

// patch makes two root file systems, one with newer versions of some packages, and
// updates from the one to the other.
func (b *slotsBench) patch() {
	b.run(nil, "mkdir", "-p", "debs", "old", "new")
	for _, name := range rootPackages {
		b.unpack(name, "", "old", "new")
	}
	for _, name := range patchedPackages {
		newer, older := b.versions(name)
		b.unpack(name, older, "old")
		b.unpack(name, newer, "new")
	}
	for _, name := range []string{"old", "new"} {
		b.run(nil, "mksquashfs", name, name+".squashfs", "-comp", "zstd", "-b", "128K", "-all-root", "-all-time", "0", "-mkfs-time", "0", "-noappend", "-quiet", "-no-progress")
		raw, err := os.ReadFile(filepath.Join(b.dir, name+".squashfs"))
		if err != nil {
			b.Fatal(err)
		}
		writeImage(b, filepath.Join(b.dir, name+".squashfs"), raw)
	}
	set := filepath.Join(b.dir, "set")
	first := do(b.T, "stage", filepath.Join(b.dir, "old.squashfs"), set, "a", "-", "-")
	second := do(b.T, "stage", filepath.Join(b.dir, "new.squashfs"), set, "b", "a", "-")
	b.figures["patch, image bytes"] = float64(second.Report.Fetched + second.Report.Copied)
	b.figures["patch, fetched bytes"] = float64(second.Report.Fetched)
	b.figures["patch, fetched / image"] = float64(second.Report.Fetched) / b.figures["patch, image bytes"]
	b.figures["patch, written / image"] = float64(second.Report.Written) / b.figures["patch, image bytes"]
	b.figures["patch, seconds"] = second.Seconds
	b.figures["patch, seconds without the slot in use"] = first.Seconds
}

// versions are the newest and the oldest that Debian offers of a package.
func (b *slotsBench) versions(name string) (newest, oldest string) {
	var all []string
	for line := range strings.Lines(b.run(nil, "apt-cache", "madison", name)) {
		if f := strings.Split(line, "|"); len(f) == 3 {
			all = append(all, strings.TrimSpace(f[1]))
		}
	}
	if len(all) < 2 || all[0] == all[1] {
		b.Fatalf("Debian has %s in the versions %q: two are needed", name, all)
	}
	return all[0], all[1]
}

// unpack downloads a package and unpacks it into directories.
func (b *slotsBench) unpack(name, version string, into ...string) {
	b.Helper()
	what := name
	if version != "" {
		what += "=" + version
	}
	b.run(nil, "sh", "-c", "cd debs && rm -f *.deb && apt-get -qq download "+what)
	debs, err := filepath.Glob(filepath.Join(b.dir, "debs", "*.deb"))
	if err != nil || len(debs) != 1 {
		b.Fatalf("%s: %v, %v", what, debs, err)
	}
	for _, dir := range into {
		b.run(nil, "dpkg-deb", "-x", debs[0], dir)
	}
}
