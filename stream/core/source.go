package core

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pion/sdp/v3"
	"golang.org/x/sys/unix"

	"github.com/bluenviron/gortsplib/v5/pkg/format"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

const (
	publishReceiveBuffer = 4 << 20

	// Connections that have not said what they are: how many, and for how long.
	maxSilent   = 16 // publishers of one source
	silentLimit = 5 * time.Second

	// acceptBatch bounds how many publishers are let in before others have their
	// turn.
	acceptBatch = 16
)

// source is one run of an app, and the socket on which it publishes.
type source struct {
	spec   orders.Source
	listen int
	pidfd  int // −1: none came
	exited bool
	freeze freeze
	lines  map[string]*line // the newest one of each stream
	silent map[*publisher]int64
	// wish passes a wish for a key frame on to the agent; nil: the agent wants none.
	wish func(stream string)
}

// newSource opens the publish socket of a source.
func (c *Core) newSource(spec orders.Source) (*source, error) {
	fd, err := c.listenAt(keptSource+string(spec.ID), c.publishPath(spec.ID))
	if err != nil {
		return nil, err
	}
	if err := giveTo(spec.UID, c.publishPath(spec.ID)); err != nil {
		c.keeper.drop(keptSource + string(spec.ID))
		unix.Close(fd)
		return nil, err
	}
	if c.ignores(orders.ByStall) {
		spec = withoutStalls(spec)
	}
	spec.Frozen = false // until it is told apart: what it sends now is not of the past
	s := &source{spec: spec, listen: fd, pidfd: -1, freeze: freeze{fd: -1}, lines: map[string]*line{}, silent: map[*publisher]int64{}}
	if spec.KeyWishes {
		s.wish = func(stream string) { c.tellWish(orders.KeyWish{Source: spec.ID, Stream: stream}) }
	}
	if err := c.poll.add(fd, unix.EPOLLIN, s); err != nil {
		c.keeper.drop(keptSource + string(spec.ID))
		unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// giveTo lets the user who is to publish open the socket.
func giveTo(uid int, path string) error {
	if uid < 0 || uid == os.Geteuid() {
		return nil
	}
	return os.Lchown(path, uid, -1)
}

func (c *Core) publishPath(id orders.SourceID) string {
	return filepath.Join(c.config.Run, "pub", string(id)+".sock")
}

// ready accepts publishers.
func (s *source) ready(c *Core, now int64) {
	for range acceptBatch {
		if s.listen < 0 {
			return // banned meanwhile
		}
		fd, _, err := unix.Accept4(s.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			c.poll.rest(s.listen, err)
			return
		}
		if len(s.silent) >= maxSilent {
			c.refusePublisher(s, fd, "too many connections that have not said which stream they are")
			continue
		}
		enlarge(fd, unix.SO_RCVBUF, publishReceiveBuffer)
		uid, err := peerUID(fd)
		if err != nil || (s.spec.UID >= 0 && uid != s.spec.UID && uid != 0) {
			c.refusePublisher(s, fd, fmt.Sprintf("user %d may not publish for source %s", uid, s.spec.ID))
			continue
		}
		p := &publisher{fd: fd, source: s}
		if err := c.poll.add(fd, unix.EPOLLIN, p); err != nil {
			unix.Close(fd)
			continue
		}
		s.silent[p] = now
	}
}

// watch takes the app's pidfd, which becomes readable when the app ends.
func (c *Core) watch(s *source, pidfd int) error {
	if s.pidfd >= 0 {
		c.poll.close(s.pidfd)
	}
	s.pidfd = pidfd
	c.keeper.keep(keptPidfd+string(s.spec.ID), pidfd)
	if err := c.poll.add(pidfd, unix.EPOLLIN, appExit{s}); err != nil {
		return err
	}
	if c.ignores(orders.ByPidfd) {
		c.poll.mute(pidfd)
	}
	return nil
}

type appExit struct{ source *source }

func (e appExit) ready(c *Core, now int64) {
	s := e.source
	c.keeper.drop(keptPidfd + string(s.spec.ID))
	c.poll.close(s.pidfd)
	s.pidfd, s.exited = -1, true
	c.lost(orders.SourceLost{Source: s.spec.ID, Cause: orders.CauseExit, By: orders.ByPidfd, Detail: "the app's process ended", At: now})
}

// closeSource disconnects everything of a source.
func (c *Core) closeSource(s *source) {
	for _, l := range s.lines {
		c.closeLine(l)
	}
	for p := range s.silent {
		c.poll.closeAside(p.fd)
	}
	if s.pidfd >= 0 {
		c.keeper.drop(keptPidfd + string(s.spec.ID))
		c.poll.close(s.pidfd)
	}
	c.closeFreezer(s)
	c.ban(s)
	_ = unix.Unlink(c.publishPath(s.spec.ID)) // the next forwarder replaces what is left
}

func (c *Core) closeLine(l *line) {
	if l.alive() {
		c.keepPast(l)
		c.keeper.drop(lineName(keptLine, l))
		_ = unix.Shutdown(l.fd, unix.SHUT_RDWR) // a kept copy would hold the connection
		c.poll.closeAside(l.fd)
		l.fd, l.endAt = -1, c.now()
		c.dropLock(l)
	}
}

// lineGrace is how long a line is kept after its end, for viewers who have yet to
// take or to ask again for what it has sent.
const lineGrace = 5 * time.Second

// maxLinesKept bounds the lines of one stream of one source. Each has an arena, and
// one that has ended is kept for its grace.
const maxLinesKept = 16

func (c *Core) linesOf(src *source, stream string) (n int) {
	for _, l := range c.lines {
		if l.source == src && l.spec.Name == stream {
			n++
		}
	}
	return n
}

// forgetLines gives back the memory of lines that nobody needs any more.
func (c *Core) forgetLines(now int64) {
	for number, l := range c.lines {
		if l.alive() || now-l.endAt < int64(lineGrace) || l.stream.followed == l || l.source.lines[l.spec.Name] == l && c.sources[l.source.spec.ID] == l.source {
			continue
		}
		if !slices.ContainsFunc(l.stream.tracks, func(t *track) bool { return t.line == l }) {
			delete(c.lines, number)
			c.keeper.drop(lineName(keptMemory, l))
			l.memory.close()
			l.lineState, l.arena = nil, nil
		}
	}
}

// endLine notes that a line's publisher is gone.
func (c *Core) endLine(l *line, cause, by, detail string, now int64) {
	if !l.alive() {
		return
	}
	c.closeLine(l)
	c.lost(orders.SourceLost{Source: l.source.spec.ID, Stream: l.stream.name, Cause: cause, By: by, Detail: detail, At: now})
}

// refuse ends a line that broke its declaration, and says why.
func (c *Core) refuse(l *line, reason string) {
	c.log.Warn("publisher refused", "source", l.source.spec.ID, "stream", l.stream.name, "reason", reason)
	c.sayLast(l.source, l.fd, reason)
	c.endLine(l, orders.CauseMedia, "", reason, c.now())
}

func (c *Core) refusePublisher(s *source, fd int, reason string) {
	c.sayLast(s, fd, reason)
	go unix.Close(fd) // as closeAside
}

// sayLast tells a publisher why its connection is about to be closed. One that has
// sent descriptors meanwhile is not heard again, like all that do so unasked: each
// may keep a thread waiting when it is closed.
func (c *Core) sayLast(s *source, fd int, reason string) {
	if sendLast(fd, publish.MsgError, reason) {
		c.log.Warn("source banned", "source", s.spec.ID, "reason", errForeignLock)
		c.ban(s)
	}
}

// ban takes no more connections from a source that sends descriptors which
// nobody has asked for.
func (c *Core) ban(s *source) {
	if s.listen >= 0 {
		c.keeper.drop(keptSource + string(s.spec.ID))
		_ = unix.Shutdown(s.listen, unix.SHUT_RDWR)
		c.poll.closeAside(s.listen)
		s.listen = -1
	}
}

// publisher is a connection that has not yet said which stream it is.
type publisher struct {
	fd     int
	source *source
}

func (p *publisher) ready(c *Core, now int64) {
	n, lock, errno := p.receive(c)
	if errno == eagain || errno == eintr {
		return
	}
	delete(p.source.silent, p)
	if errno == errRights {
		c.log.Warn("source banned", "source", p.source.spec.ID, "reason", errForeignLock)
		_ = sendControl(p.fd, append([]byte{publish.MsgError}, errForeignLock.Error()...))
		c.ban(p.source)
	}
	if errno != 0 || n == 0 {
		c.poll.closeAside(p.fd)
		return
	}
	l, err := p.hello(c, c.scratch[:min(n, len(c.scratch))], n)
	if err != nil {
		lock.stop()
		c.log.Warn("publisher refused", "source", p.source.spec.ID, "reason", err)
		c.sayLast(p.source, p.fd, err.Error())
		c.poll.closeAside(p.fd)
		if errors.As(err, new(*mediaError)) {
			c.lost(orders.SourceLost{Source: p.source.spec.ID, Cause: orders.CauseMedia, Detail: err.Error(), At: now})
		}
		return
	}
	c.poll.rebind(p.fd, l)
	c.addLine(l)
	c.keepLine(l)
	c.watchLock(l, lock)
	_ = sendControl(p.fd, []byte{publish.MsgAccepted})
	c.log.Info("stream published", "source", p.source.spec.ID, "stream", l.stream.name)
	if s := l.stream; s.sdp == nil {
		s.describe(l)
	}
}

// addLine makes a line its source's newest one of that stream.
func (c *Core) addLine(l *line) {
	c.lines[l.number] = l
	if old := l.source.lines[l.spec.Name]; old == nil || old.number < l.number {
		l.source.lines[l.spec.Name] = l
	}
}

func (c *Core) keepLine(l *line) {
	c.keeper.keep(lineName(keptMemory, l), l.memory.fd)
	if l.alive() {
		c.keeper.keep(lineName(keptLine, l), l.fd)
	}
}

// hangUpSilent closes connections that have not said in time what they are.
func (c *Core) hangUpSilent(now int64) {
	for _, s := range c.sources {
		for p, since := range s.silent {
			if now-since > int64(silentLimit) {
				delete(s.silent, p)
				c.poll.closeAside(p.fd)
			}
		}
	}
	for v, since := range c.silent {
		if now-since > int64(silentLimit) {
			c.closeViewer(&v.viewer, handover.EndedClosed, "")
		}
	}
}

// hello checks the first message: the stream must be one that the source
// declares, not published already, in a form that viewers can be given.
func (p *publisher) hello(c *Core, msg []byte, length int) (*line, error) {
	if length > publish.MaxHello {
		return nil, fmt.Errorf("a first message of %d bytes is over the limit of %d", length, publish.MaxHello)
	}
	name, body, found := bytes.Cut(msg[1:], []byte{'\n'})
	if msg[0] != publish.MsgStream || !found {
		return nil, errors.New("the first message must name the stream and hold its SDP")
	}
	spec, declared := p.source.stream(string(name))
	if !declared {
		return nil, fmt.Errorf("stream %q is not declared in the manifest of this version", name)
	}
	if old := p.source.lines[spec.Name]; old != nil && old.alive() {
		return nil, fmt.Errorf("stream %q is published already", spec.Name)
	}
	if n := c.linesOf(p.source, spec.Name); n >= maxLinesKept {
		return nil, fmt.Errorf("stream %q was published %d times within %v; publish it once and keep the connection", name, n, lineGrace)
	}
	l, err := c.newLine(p.source, spec)
	if err != nil {
		return nil, err
	}
	if err := l.describe(body); err != nil {
		l.memory.close()
		return nil, &mediaError{err}
	}
	l.fd = p.fd
	return l, nil
}

// mediaError says that a version publishes what viewers cannot be given: trying
// again will not help.
type mediaError struct{ error }

func (s *source) stream(name string) (orders.Stream, bool) {
	for _, spec := range s.spec.Streams {
		if spec.Name == name {
			return spec, true
		}
	}
	return orders.Stream{}, false
}

// describe reads the SDP: one medium of the declared codec.
func (l *line) describe(body []byte) error {
	var d sdp.SessionDescription
	if err := d.Unmarshal(body); err != nil {
		return fmt.Errorf("the SDP cannot be read: %w", err)
	}
	if len(d.MediaDescriptions) != 1 || len(d.MediaDescriptions[0].MediaName.Formats) != 1 {
		return errors.New("the SDP must describe exactly one medium in one format")
	}
	m := d.MediaDescriptions[0]
	f, err := format.Unmarshal(m, m.MediaName.Formats[0])
	if err != nil {
		return fmt.Errorf("the SDP's format cannot be read: %w", err)
	}
	said, refusal, ok := l.codec.describe(f)
	if !ok {
		return fmt.Errorf("stream %s is %s, the manifest declares it as %s; publish that (%s), or change the manifest",
			l.spec.Name, f.Codec(), l.spec.Codec, l.codec.encoders())
	}
	if refusal == "" {
		refusal = l.parameterSets(unitInfo{sets: said.sets})
	}
	if refusal != "" {
		return errors.New(refusal)
	}
	l.pt = f.PayloadType()
	if said.rate > 0 {
		l.rate = said.rate
	}
	kept := &l.memory.data.sdp
	kept.n = uint32(copy(kept.bytes[:], body))
	l.sdp = bytes.Clone(body)
	return nil
}
