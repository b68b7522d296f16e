package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/stream/publish"
	"slipstream/testrig/device"
	"slipstream/testrig/stand"
)

// wake is when a wait for an app's death was over.
type wake struct {
	at  time.Duration
	err error
}

// death waits for a process's end by its pidfd.
func death(pidfd int) <-chan wake {
	woken := make(chan wake, 1)
	go func() {
		err := error(unix.EINTR)
		for errors.Is(err, unix.EINTR) { // the end of another child interrupts it
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(killPatience/time.Millisecond))
		}
		woken <- wake{publish.Monotonic(), err}
	}()
	return woken
}

// lockFloors measures, by the size of the app, how soon this machine wakes a thread
// that waits for the lock of an app that is killed: it takes the forwarder's place
// at the app's publish socket, and does nothing but wait, with FIFO priority if it
// may.
func lockFloors(ctx context.Context, bin string, kills int) (map[int][]time.Duration, error) {
	floors := map[int][]time.Duration{}
	for _, size := range killSizes {
		for range max(1, kills/size.share/2) {
			took, err := lockFloor(ctx, bin, size.megabytes)
			if err != nil {
				return nil, fmt.Errorf("futex floor, app of %d MB: %w", size.megabytes, err)
			}
			floors[size.megabytes] = append(floors[size.megabytes], took)
		}
	}
	return floors, nil
}

func lockFloor(ctx context.Context, bin string, megabytes int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	dir, err := device.NewDir(bin)
	if err != nil {
		return 0, err
	}
	defer func() { _ = dir.Clear() }() // what is left lies in a directory for such things
	socket := filepath.Join(dir.Path, "run", "pub.sock")
	if err := os.Mkdir(filepath.Dir(socket), 0o755); err != nil {
		return 0, err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	root := filepath.Join(dir.Path, "app")
	grow, err := stand.PrepareCamera(root, stand.AppConfig{Version: "1.0", Megabytes: megabytes})
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(filepath.Join(bin, "slipstream-camera"))
	cmd.Env = append(os.Environ(), "SLIPSTREAM_ROOT="+root, "SLIPSTREAM_PUBLISH="+socket)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Wait() }() // killed
	defer cmd.Process.Kill()
	conn, word, err := takeLock(l)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	go drain(conn)
	if err := stand.Grown(ctx, cmd.Process.Pid, grow); err != nil {
		return 0, err
	}
	woken := lockDeath(word)
	atRandom(ctx)
	killed := publish.Monotonic()
	cmd.Process.Kill()
	w := <-woken
	return w.at - killed, w.err
}

// takeLock accepts a publisher, as the forwarder would, and maps its lock.
func takeLock(l *net.UnixListener) (*net.UnixConn, []byte, error) {
	l.SetDeadline(time.Now().Add(killPatience))
	conn, err := l.AcceptUnix()
	if err != nil {
		return nil, nil, err
	}
	hello, oob := make([]byte, publish.MaxHello), make([]byte, 128)
	_, n, _, _, err := conn.ReadMsgUnix(hello, oob)
	if err != nil {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, nil, fmt.Errorf("the app sent no lock: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, nil, fmt.Errorf("the app sent %d descriptors: %w", len(fds), err)
	}
	defer unix.Close(fds[0])
	word, err := unix.Mmap(fds[0], 0, publish.LockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	_, err = conn.Write([]byte{publish.MsgAccepted})
	return conn, word, err
}

func drain(conn *net.UnixConn) {
	buf := make([]byte, publish.MaxPacket)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// fifoPriority is the forwarder's.
const fifoPriority = 10

// raise gives this thread the forwarder's priority until lower is called. Where it is
// refused, the forwarder has none either.
func raise() (lower func()) {
	runtime.LockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: fifoPriority}, 0)
	}
	return func() {
		if err == nil {
			_ = unix.SchedSetAttr(0, before, 0) // lowering is always allowed
		}
		runtime.UnlockOSThread()
	}
}

// lockDeath waits on a futex until the kernel says that its holder died.
func lockDeath(word []byte) <-chan wake {
	const futexWait = 0
	woken := make(chan wake, 1)
	go func() {
		defer raise()()
		defer func() { _ = unix.Munmap(word) }()
		limit := publish.Monotonic() + killPatience
		for publish.Monotonic() < limit {
			value := binary.NativeEndian.Uint32(word)
			if value&publish.LockDied != 0 {
				woken <- wake{publish.Monotonic(), nil}
				return
			}
			timeout := unix.NsecToTimespec(int64(killPatience))
			_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&word[0])), futexWait, uintptr(value), uintptr(unsafe.Pointer(&timeout)), 0, 0)
		}
		woken <- wake{0, errors.New("the lock was not released")}
	}()
	return woken
}
