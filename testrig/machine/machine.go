package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/testrig/machine/hand"
)

// Ports of the guest that are forwarded.
const (
	portWHEP  = 8889
	portRTSP  = 8554
	portMedia = 7002 // UDP, in a connection
	portHand  = 7000
	portAgent = 7001
	portLent  = 7003
)

var forwardedPorts = []int{portWHEP, portRTSP, portMedia, portHand, portAgent, portLent}

const (
	guestMedia   = 8189 // UDP
	guestAddress = "10.0.2.15"
	memoryMB     = 512
	cores        = 2
	endTimeout   = 30 * time.Second
)

// Machine is one emulated camera. Its disk outlives its runs.
type Machine struct {
	Arch    Arch
	Console *Console // of all runs
	Hand    *hand.Hand

	dir   string
	disk  string   // its file, if it is not QEMU's own of other options
	drive []string // options of the block device "disk"
	more  []string // further disks
	chips [2]string
	tree  string // the device tree, if it is not the board's own

	resume bool // its disk holds a snapshot to go on from, at the next power-on
	run    *emulator
	ports  atomic.Pointer[map[int]int] // of loopback, by the guest's
	relay  *relay
	media  *hand.Tunnel
	reach  *hand.Reach
}

// emulator is one run of QEMU.
type emulator struct {
	cmd  *exec.Cmd
	qmp  *qmp
	read sync.WaitGroup // of the console
	done chan struct{}
}

// New makes a machine, switched off, with a disk that is an overlay of an image's. What
// belongs to it lies in dir.
func New(ctx context.Context, arch Arch, image, dir string) (*Machine, error) {
	if err := arch.need(); err != nil {
		return nil, err
	}
	image, err := filepath.Abs(image)
	if err != nil {
		return nil, err
	}
	m, err := newMachine(ctx, arch, dir)
	if err == nil {
		_, err = run(ctx, "", "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, m.disk)
	}
	return m, err
}

// AddDisk gives the machine one more disk, an overlay of an image.
func (m *Machine) AddDisk(ctx context.Context, image string) error {
	disk := filepath.Join(m.dir, fmt.Sprintf("disk%d.qcow2", len(m.more)+1))
	_, err := run(ctx, "", "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, disk)
	m.more = append(m.more, disk)
	return err
}

// NewOn makes one whose disk is QEMU's block device "disk", of these options. It cannot
// be kept.
func NewOn(ctx context.Context, arch Arch, dir string, drive ...string) (*Machine, error) {
	if err := arch.need(); err != nil {
		return nil, err
	}
	m, err := newMachine(ctx, arch, dir)
	if err == nil {
		m.disk, m.drive = "", drive
	}
	return m, err
}

func newMachine(ctx context.Context, arch Arch, dir string) (m *Machine, err error) {
	disk := filepath.Join(dir, "disk.qcow2")
	m = &Machine{
		Arch: arch, Console: newConsole(), dir: dir,
		disk: disk, drive: []string{"-drive", "if=none,id=disk,format=qcow2,file=" + disk},
	}
	m.chips, err = arch.writeFlash(ctx, dir)
	return m, err
}

// snapshotName is what a kept machine's state is called in its disk.
const snapshotName = "kept"

// Keep makes a file of a running machine, memory and all, and switches it off: [Resume]
// makes machines that go on from there.
func (m *Machine) Keep(ctx context.Context, file string) error {
	if m.run == nil {
		return errOff
	}
	out, err := m.run.qmp.monitor(ctx, "savevm "+snapshotName)
	if err == nil && strings.TrimSpace(out) != "" { // the monitor says nothing where all is well
		err = errors.New(strings.TrimSpace(out))
	}
	if err = errors.Join(err, m.Close()); err != nil {
		return fmt.Errorf("keep the machine: %w", err)
	}
	return os.Rename(m.disk, file)
}

// Resume makes a machine of a file that [Machine.Keep] has made. It is switched off, and
// goes on when it is switched on for the first time; its clock has stood still.
func Resume(ctx context.Context, arch Arch, kept, dir string) (*Machine, error) {
	m, err := newMachine(ctx, arch, dir)
	if err != nil {
		return nil, err
	}
	in, err := os.Open(kept)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	m.resume = true
	return m, copyTo(m.disk, in, 0o644)
}

// hardware are QEMU's arguments for what stands in the board's device tree.
func (m *Machine) hardware() []string {
	args := append([]string{}, m.Arch.board...)
	args = append(args, "-smp", strconv.Itoa(cores), "-m", strconv.Itoa(memoryMB), "-nodefaults", "-display", "none", "-monitor", "none")
	for i, chip := range m.chips {
		args = append(args, "-drive", fmt.Sprintf("if=pflash,format=raw,unit=%d,readonly=on,file=%s", i, chip))
	}
	return args
}

// arguments are QEMU's. Descriptor 3 is where it is commanded.
func (m *Machine) arguments() []string {
	args := append(m.hardware(), "-S", "-action", "watchdog=reset",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", "socket,id=qmp,fd=3", "-mon", "chardev=qmp,mode=control",
	)
	if m.tree != "" {
		args = append(args, "-dtb", m.tree)
	}
	net := []string{"user", "id=net", "restrict=on"}
	for _, port := range forwardedPorts {
		net = append(net, fmt.Sprintf("hostfwd=tcp:127.0.0.1:0-%s:%d", guestAddress, port))
	}
	args = append(args, m.drive...)
	args = append(args, "-device", "virtio-blk-pci,drive=disk",
		"-netdev", strings.Join(net, ","), "-device", "virtio-net-pci,netdev=net,romfile=",
	)
	for i, disk := range m.more {
		args = append(args, "-drive", fmt.Sprintf("if=none,id=disk%d,format=qcow2,file=%s", i, disk),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d", i))
	}
	if m.Arch.watchdog != "" {
		args = append(args, "-device", m.Arch.watchdog)
	}
	if m.resume {
		args = append(args, "-loadvm", snapshotName)
	}
	return args
}

// PowerOn starts the machine; the boot loader runs when it returns.
func (m *Machine) PowerOn(ctx context.Context) error {
	if m.run != nil {
		return errors.New("the machine is on already")
	}
	path, err := find(m.Arch.emulator)
	if err != nil {
		return err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "qmp"), os.NewFile(uintptr(ends[1]), "qmp")
	defer theirs.Close()
	commands, err := net.FileConn(ours)
	if err = errors.Join(err, ours.Close()); err != nil {
		return err
	}
	e := &emulator{cmd: exec.Command(path, m.arguments()...), qmp: newQMP(commands), done: make(chan struct{})}
	e.cmd.ExtraFiles = []*os.File{theirs}
	e.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	if err := m.launch(e); err != nil {
		commands.Close()
		return err
	}
	m.run, m.resume = e, false
	if err := m.connect(ctx); err != nil {
		return errors.Join(fmt.Errorf("%s: %w\n%s", m.Arch.emulator, err, m.Console.Tail()), m.CutPower())
	}
	return nil
}

// launch starts QEMU with its console, and waits for its end elsewhere.
func (m *Machine) launch(e *emulator) error {
	e.cmd.Stderr = m.Console
	console, err := e.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	keys, err := e.cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := e.cmd.Start(); err != nil {
		return err
	}
	m.Console.attach(keys)
	e.read.Go(func() { m.Console.read(console) })
	go func() {
		defer close(e.done)
		e.read.Wait()
		_ = e.cmd.Wait() // how it ended stands on the console
		e.qmp.close()
	}()
	return nil
}

// connect takes the command, learns the ports, and lets the machine run.
func (m *Machine) connect(ctx context.Context) error {
	q := m.run.qmp
	if err := q.greet(ctx); err != nil {
		return err
	}
	text, err := q.monitor(ctx, "info usernet")
	if err != nil {
		return err
	}
	ports, err := forwarded(text)
	if err != nil {
		return err
	}
	m.ports.Store(&ports)
	m.Hand = hand.New(m.address(portHand))
	_, err = q.do(ctx, "cont")
	return err
}

// forwarded reads the ports that QEMU has chosen, by the guest's.
func forwarded(text string) (map[int]int, error) {
	ports := map[int]int{}
	for line := range strings.Lines(text) {
		// TCP[HOST_FORWARD]  13       127.0.0.1 41235       10.0.2.15  8889 …
		f := strings.Fields(line)
		if len(f) < 6 || !strings.HasSuffix(f[0], "[HOST_FORWARD]") {
			continue
		}
		ours, err := strconv.Atoi(f[3])
		theirs, err2 := strconv.Atoi(f[5])
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("forwarded ports: %w in %q", err, line)
		}
		ports[theirs] = ours
	}
	for _, port := range forwardedPorts {
		if ports[port] == 0 {
			return nil, fmt.Errorf("port %d of the machine is not forwarded:\n%s", port, text)
		}
	}
	return ports, nil
}

// address is where a port of the guest is found, while the machine is on.
func (m *Machine) address(port int) string {
	ports := m.ports.Load()
	if ports == nil {
		return "127.0.0.1:0"
	}
	return "127.0.0.1:" + strconv.Itoa((*ports)[port])
}

// CutPower takes the power away, now. What the guest has handed to its disk stays.
func (m *Machine) CutPower() error {
	if m.run == nil {
		return nil
	}
	e := m.run
	m.run = nil
	_ = e.cmd.Process.Kill() // an error says that it has ended
	select {
	case <-e.done:
		return nil
	case <-time.After(endTimeout):
		return fmt.Errorf("%s (pid %d) does not end", m.Arch.emulator, e.cmd.Process.Pid)
	}
}

// Reset presses the button for it: nothing in the guest has a say.
func (m *Machine) Reset(ctx context.Context) error {
	if m.run == nil {
		return errOff
	}
	_, err := m.run.qmp.do(ctx, "system_reset")
	return err
}

var errOff = errors.New("the machine is off")

// Close ends the machine. Its files are the caller's.
func (m *Machine) Close() error {
	err := m.CutPower()
	if m.relay != nil {
		m.relay.close()
	}
	if m.media != nil {
		m.media.Close()
	}
	if m.reach != nil {
		m.reach.Close()
	}
	return err
}
