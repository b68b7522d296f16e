package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
)

// A forwarder is replaced without a gap: its successor connects to a socket of the
// running one and is given all kept descriptors.
//
//	successor → forwarder   connects
//	forwarder → successor   heirloom messages, the last one marked; from here on the
//	                        forwarder touches nothing
//	successor → forwarder   'F', when it has sent its first frame: the forwarder ends
//
// Where silence has to be long to count as a stall, a successor has longer, too: its
// restoring is as slow as everything is there, and viewers wait no longer than for a stall
// that is seen late.
//
// A successor that does not say so in time is killed, and the forwarder goes on from
// the memory that both have used, so that no packet index is used twice. Both run
// only outside of trials.
const (
	successionSocket = "succession.sock"

	// successionTime is how long a successor may take to its first frame, and
	// successionStalls how often the stall limit, if that is longer.
	successionTime   = 500 * time.Millisecond
	successionStalls = 2

	// inheritTime is how long it waits for what it is given; nobody waits for it yet.
	inheritTime = 2 * time.Second

	// killTime is how long a killed successor may take to be gone.
	killTime = 5 * time.Second

	// heirloomBatch is how many descriptors one message carries.
	heirloomBatch = 200

	maxHeirloom = 32 << 10

	msgFirstFrame = 'F'
)

// ErrSucceeded says that another forwarder has taken over.
var ErrSucceeded = errors.New("a successor has taken over")

// heirloom names the descriptors that come with it, in their order.
type heirloom struct {
	Names []string `json:"names,omitempty"`
	Last  bool     `json:"last,omitempty"`
	Error string   `json:"error,omitempty"` // why there is no succession now
}

// successor is a forwarder that wants to take over.
type successor struct{ conn int }

type successionListener int

// ready lets one successor in; what it is given is sent between two turns of the
// loop, when no access unit is half sent.
func (fd successionListener) ready(c *Core, now int64) {
	conn, ok := c.acceptOwn(int(fd), "succession")
	if !ok {
		return
	}
	if reason := c.unready(); reason != "" {
		c.log.Warn("a successor is refused", "reason", reason)
		_ = sendHeirloom(conn, heirloom{Error: reason}, nil)
		unix.Close(conn)
		return
	}
	enlarge(conn, unix.SO_SNDBUF, 1<<20)
	c.successor = &successor{conn}
}

// unready says why nobody can take over now, or "".
func (c *Core) unready() string {
	switch {
	case c.successor != nil:
		return "another successor takes over"
	case c.trial.phase != steady || c.reversion != nil:
		return "a trial is under way; try again when it is over"
	}
	return ""
}

// handOver gives everything to the successor. It is called when all is at rest, and
// nothing else happens until it returns: [ErrSucceeded], or nil if the successor has
// failed and is gone.
func (c *Core) handOver() error {
	s := c.successor
	c.successor = nil
	defer unix.Close(s.conn)
	pidfd, err := peerPidfd(s.conn)
	if err != nil {
		c.log.Error("a successor is refused", "reason", err)
		return nil
	}
	defer unix.Close(pidfd)
	lines := c.records.memory.data.lines
	if err = c.bequeath(s.conn); err == nil {
		err = awaitFirstFrame(s.conn, c.timeOfSuccessor())
	}
	if err == nil {
		return ErrSucceeded
	}
	c.log.Error("the successor failed; this forwarder goes on", "reason", err)
	if err := endProcess(pidfd); err != nil {
		return err // two writers with one key would be worse than none
	}
	c.goOn(lines)
	return nil
}

// bequeath sends all kept descriptors, and the agent's.
func (c *Core) bequeath(conn int) error {
	all := maps.Clone(c.keeper.fds)
	c.deposit.heirlooms(all)
	names := slices.Sorted(maps.Keys(all))
	for n := range batches(names) {
		fds := make([]int, n)
		for i, name := range names[:n] {
			fds[i] = all[name]
		}
		if err := sendHeirloom(conn, heirloom{Names: names[:n]}, fds); err != nil {
			return err
		}
		names = names[n:]
	}
	return sendHeirloom(conn, heirloom{Last: true}, nil)
}

func sendHeirloom(conn int, h heirloom, fds []int) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(conn, body, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	return nil
}

// timeOfSuccessor is how long one may take on this device.
func (c *Core) timeOfSuccessor() time.Duration {
	limit := successionTime
	for _, s := range c.streams {
		if s.followed != nil {
			limit = max(limit, successionStalls*time.Duration(s.followed.spec.StallMS)*time.Millisecond)
		}
	}
	return limit
}

// awaitFirstFrame waits for the successor's word.
func awaitFirstFrame(conn int, limit time.Duration) error {
	if err := awaitReadable(conn, limit); err != nil {
		return fmt.Errorf("it did not send a frame within %v: %w", limit, err)
	}
	var word [1]byte
	if n, errno := receive(conn, word[:]); errno != 0 || n != 1 || word[0] != msgFirstFrame {
		return errors.New("it ended before its first frame")
	}
	return nil
}

// awaitReadable waits until a descriptor is readable.
func awaitReadable(fd int, patience time.Duration) error {
	for end := time.Now().Add(patience); ; {
		left := time.Until(end)
		if left <= 0 {
			return errors.New("time is up")
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n > 0 {
			return nil
		}
		if err != nil && err != unix.EINTR {
			return err
		}
	}
}

// peerPidfd is of the process that has connected.
func peerPidfd(conn int) (int, error) {
	cred, err := unix.GetsockoptUcred(conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, err
	}
	pidfd, err := unix.PidfdOpen(int(cred.Pid), 0)
	if err != nil {
		return -1, fmt.Errorf("find the successor's process: %w", err)
	}
	return pidfd, nil
}

// endProcess kills a process and waits until it is gone.
func endProcess(pidfd int) error {
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill the successor: %w", err)
	}
	if err := awaitReadable(pidfd, killTime); err != nil {
		return fmt.Errorf("the killed successor does not end: %w", err)
	}
	return nil
}

// goOn takes up the work again where the successor left it, which may be in the midst
// of anything: it was killed. What both have in memory is mended as after a crash, and
// what else the successor began is forgotten, lines from a number on and viewers.
func (c *Core) goOn(lines uint64) {
	now := c.now()
	c.used = newUsedKeys(&c.records.memory.data.keys)
	c.ended.restore(&c.records.memory.data.ended)
	for n := lines + 1; n <= c.records.memory.data.lines; n++ {
		for _, kind := range []string{keptMemory, keptLine, keptLock} {
			c.keeper.say(kind + strconv.FormatUint(n, 10)) // a publisher whose copy is let go comes back
		}
	}
	for _, l := range c.lines {
		l.arena.mend()
		l.stall.start(now)
	}
	mine := c.takeBack()
	for n := range maxRecords {
		if at := c.records.place(n); at.kind != freeRecord && !mine[at.name] {
			at.free()
			for i := range maxDescriptors {
				c.keeper.say(at.descriptor(i))
			}
		}
	}
	c.keeper.all()
}

// takeBack goes on with the viewers, of which the successor may have ended some and
// moved others to lines of its own. It names the places of those that are left.
func (c *Core) takeBack() (mine map[string]bool) {
	mine = map[string]bool{}
	back := func(v *viewer, id, key string, again func() error) {
		at := v.place
		for _, t := range v.tracks {
			t.leave()
		}
		err := errors.New("the successor has ended it")
		if at.whose() == id+key {
			err = again()
		}
		if err == nil {
			mine[at.name] = true
			return
		}
		c.log.Warn("a viewer is lost", "id", id, "reason", err)
		c.closeViewer(v, handover.EndedClosed, "")
	}
	for id, p := range c.peers {
		back(&p.viewer, id, string(p.spec.SRTP.LocalKey), func() error { return p.again(c) })
	}
	for id, p := range c.players {
		back(&p.viewer, id, "", func() error { return p.again(c, p.spec) })
	}
	return mine
}

// Succeed asks the forwarder that runs in a directory to hand over. What it returns
// goes into [Config]: from then on that forwarder does nothing until [Core.Run] has
// sent the first frame, and kills this process if that takes over half a second, or twice the
// longest stall limit.
func Succeed(run string) (predecessor int, kept map[string]int, err error) {
	conn, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, err
	}
	if err := unix.Connect(conn, &unix.SockaddrUnix{Name: filepath.Join(run, successionSocket)}); err != nil {
		unix.Close(conn)
		return -1, nil, fmt.Errorf("no forwarder to succeed: %w", err)
	}
	kept, err = inherit(conn)
	if err != nil {
		unix.Close(conn)
		for _, fd := range kept {
			unix.Close(fd)
		}
		return -1, nil, err
	}
	return conn, kept, nil
}

func inherit(conn int) (kept map[string]int, err error) {
	kept = map[string]int{}
	buf, oob := make([]byte, maxHeirloom), make([]byte, rightsRoom)
	for {
		if err := awaitReadable(conn, inheritTime); err != nil {
			return kept, fmt.Errorf("the running forwarder does not hand over: %w", err)
		}
		var h heirloom
		fds, err := receiveRequest(conn, buf, oob, &h)
		for i, fd := range fds {
			if i < len(h.Names) {
				kept[h.Names[i]] = fd
			} else {
				unix.Close(fd)
			}
		}
		switch {
		case err != nil:
			return kept, fmt.Errorf("the running forwarder does not hand over: %w", err)
		case h.Error != "":
			return kept, fmt.Errorf("the running forwarder does not hand over: %s", h.Error)
		case len(fds) != len(h.Names):
			return kept, fmt.Errorf("%d of %d descriptors came; the limit of open files may be too low", len(fds), len(h.Names))
		case h.Last:
			return kept, nil
		}
	}
}

// reportFirstFrame tells the predecessor that viewers are served: with a frame if
// there was one to expect.
func (c *Core) reportFirstFrame() {
	if c.predecessor < 0 || c.owesFrame && !c.shown {
		return
	}
	_ = sendControl(c.predecessor, []byte{msgFirstFrame}) // gone: it has ended by itself
	unix.Close(c.predecessor)
	c.predecessor = -1
}

// liveTime is how young the last frame of a stream is that will send another one
// soon.
const liveTime = 250 * time.Millisecond

// expectsFrame says that there is a viewer, and a stream that was live just now.
func (c *Core) expectsFrame(now int64) bool {
	for _, s := range c.streams {
		if l := s.followed; l != nil && l.alive() && len(s.tracks) > 0 && now-l.lastUnit < int64(liveTime) {
			return true
		}
	}
	return false
}
