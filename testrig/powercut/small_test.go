package powercut

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallParts are the partitions of a small device, in MiB.
var smallParts = []struct {
	name string
	mb   int
}{{"bootsel", 1}, {"ubstate", 1}, {"system-a", 1}, {"system-b", 1}, {"recovery", 1}, {"data", 16}}

// small is a device with a disk of 23 MiB, which is written to by the real code, through
// the real kernel, and without a machine around it.
type small struct {
	*testing.T
	ctx     context.Context
	dir     string
	program string // command flash
	base    string
	rec     Recording
}

func newSmall(t *testing.T, overlay string) *small {
	if os.Getuid() != 0 {
		t.Skip("a disk whose writes are recorded is mounted, which needs root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	dir, err := os.MkdirTemp("/dev/shm", "slip-cut-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &small{T: t, ctx: ctx, dir: dir, program: filepath.Join(dir, "flash"), base: filepath.Join(dir, "base.img")}
	build := exec.CommandContext(ctx, "go", "build", "-overlay="+overlay, "-o", s.program, "./flash")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build flash: %v\n%s", err, out)
	}
	s.partition()
	return s
}

func (s *small) partition() {
	s.Helper()
	var table strings.Builder
	fmt.Fprintln(&table, "label: gpt")
	at := 1
	for _, p := range smallParts {
		fmt.Fprintf(&table, "start=%dMiB, size=%dMiB, name=%s\n", at, p.mb, p.name)
		at += p.mb
	}
	must(s.T, os.WriteFile(s.base, nil, 0o600))
	must(s.T, os.Truncate(s.base, int64(at+1)<<20))
	cmd := exec.CommandContext(s.ctx, "/sbin/sfdisk", "-q", s.base)
	cmd.Stdin = strings.NewReader(table.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("sfdisk: %v\n%s", err, out)
	}
	disk := s.open(s.base)
	data := disk.attach("data")
	if out, err := exec.CommandContext(s.ctx, "/sbin/mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", data.Name()).CombinedOutput(); err != nil {
		s.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	disk.close()
	disk = s.open(s.base)
	s.flash(disk, "new", nil)
	disk.close()
}

// plugged is a disk that the kernel has.
type plugged struct {
	*small
	file  *os.File
	parts map[string]part
	loops []*os.File
	data  *os.File // its tree
}

func (s *small) open(path string) *plugged {
	s.Helper()
	d, err := openDisk(s.base)
	must(s.T, err)
	defer d.close()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(s.T, err)
	return &plugged{small: s, file: file, parts: d.parts}
}

func (d *plugged) attach(name string) *os.File {
	d.Helper()
	loop, err := attach(d.file, d.parts[name])
	must(d.T, err)
	d.loops = append(d.loops, loop)
	return loop
}

func (d *plugged) close() {
	d.Helper()
	if d.data != nil {
		must(d.T, d.data.Close())
	}
	for _, loop := range d.loops {
		must(d.T, loop.Sync())
		must(d.T, loop.Close())
	}
	must(d.T, d.file.Close())
}

// flash runs the command; what it says is told to mark.
func (s *small) flash(d *plugged, what string, mark func(line string)) {
	s.Helper()
	var err error
	d.data, err = mountTree("ext4", d.attach("data").Name())
	must(s.T, err)
	cmd := exec.CommandContext(s.ctx, s.program, what, "/proc/self/fd/3", d.attach("system-a").Name(), d.attach("system-b").Name(), d.attach("ubstate").Name())
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir)
	cmd.ExtraFiles = []*os.File{d.data}
	cmd.Stderr = os.Stderr
	answers, err := cmd.StdinPipe()
	must(s.T, err)
	says, err := cmd.StdoutPipe()
	must(s.T, err)
	must(s.T, cmd.Start())
	for lines := bufio.NewScanner(says); lines.Scan(); {
		mark(lines.Text())
		if _, err := io.WriteString(answers, "\n"); err != nil {
			s.Error(err)
		}
	}
	must(s.T, cmd.Wait())
}

// record lets the device live with all that its disk is told written down.
func (s *small) record() {
	s.Helper()
	s.rec = Recording{Base: s.base, Log: filepath.Join(s.dir, "log"), Story: Story{Permanent: []Permanent{{"1.0.0", "1.0.0"}}, Marks: []Mark{{Agreed: true}}}}
	image, face := filepath.Join(s.dir, "disk.img"), filepath.Join(s.dir, "disk")
	must(s.T, copySparse(image, s.base))
	must(s.T, os.WriteFile(face, nil, 0o600))
	log, err := os.Create(s.rec.Log)
	must(s.T, err)
	defer log.Close()
	daemon := exec.CommandContext(s.ctx, "qemu-storage-daemon",
		"--blockdev", "driver=file,node-name=image,filename="+image,
		"--blockdev", "driver=file,node-name=log,filename="+s.rec.Log,
		"--blockdev", "driver=blklogwrites,node-name=disk,file=image,log=log,log-sector-size=512,log-super-update-interval=1",
		"--export", "type=fuse,id=face,node-name=disk,writable=on,mountpoint="+face,
		"--chardev", "stdio,id=qmp", "--monitor", "qmp")
	daemon.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	daemon.Stderr = os.Stderr
	commands, err := daemon.StdinPipe()
	must(s.T, err)
	says, err := daemon.StdoutPipe()
	must(s.T, err)
	must(s.T, daemon.Start())
	s.Cleanup(func() { _ = unix.Unmount(face, unix.MNT_DETACH) }) // it is gone if all went well
	if !bufio.NewScanner(says).Scan() {
		s.Fatal("qemu-storage-daemon does not serve a disk")
	}
	disk := s.open(face)
	s.flash(disk, "live", func(line string) {
		n, err := Count(log)
		m := Mark{Entries: n}
		var is Permanent
		if err == nil {
			_, err = fmt.Sscan(line, &m.Least, &m.Most, &m.Agreed, &is.System, &is.Live)
		}
		if err != nil {
			s.Errorf("%q: %v", line, err)
		}
		s.rec.Story.Marks = append(s.rec.Story.Marks, m)
		if m.Most == len(s.rec.Story.Permanent) {
			s.rec.Story.Permanent = append(s.rec.Story.Permanent, is)
		}
	})
	disk.close()
	_, err = io.WriteString(commands, `{"execute":"qmp_capabilities"}{"execute":"quit"}`)
	must(s.T, err)
	_, _ = io.Copy(io.Discard, says) // until it has ended
	must(s.T, daemon.Wait())
}

func (s *small) explore(e Explorer) (Tally, []Bad) {
	s.Helper()
	file, err := os.Open(s.rec.Log)
	must(s.T, err)
	defer file.Close()
	log, err := ReadLog(file)
	must(s.T, err)
	tally, bad, err := e.Explore(s.ctx, s.rec.Base, log, s.rec.Story)
	must(s.T, err)
	return tally, bad
}

// A small device's disk is cut off at every entry of its log.
func TestPowerCutsOfASmallDevice(t *testing.T) {
	t.Parallel()
	s := newSmall(t, "")
	s.record()
	tally, bad := s.explore(Explorer{Seed: 1, Chance: 1, Workers: 2, MaxBad: 3})
	t.Logf("%+v", tally)
	for _, b := range bad {
		t.Error(b)
	}
	if len(bad) == 0 && (tally.Cuts < 100 || tally.States <= tally.Cuts || len(s.rec.Story.Permanent) != 3) {
		t.Errorf("%+v of the life %v", tally, s.rec.Story.Permanent)
	}
}
