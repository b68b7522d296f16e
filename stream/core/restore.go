package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
)

// skipped is how many packet indices a viewer's track leaves out if it is not
// certain which one was sent last. They count as lost; none is ever used twice.
const skipped = 64

// Names of kept descriptors; those of sources, lines and viewers have a name or
// number behind them.
const (
	keptLedger  = "ledger"
	keptListen  = "listen."
	keptSource  = "source."
	keptPidfd   = "pidfd."
	keptFreezer = "freezer."
	keptLine    = "line."
	keptMemory  = "memory."
	keptLock    = "lock."
)

// inherited are the descriptors of an earlier forwarder that have yet to be taken.
type inherited map[string]int

func (h inherited) take(name string) (fd int, ok bool) {
	fd, ok = h[name]
	delete(h, name)
	return fd, ok
}

// restore goes on where an earlier forwarder ended: one that died, or one that has
// handed over. It serves the permanent version, never a trial.
//
// All that was counted lies in memory that both have mapped, in an order that makes
// each step of it good to go on from. So a viewer's next packet is the one that the
// other process would have sent. The one that was on its way when that process died
// is sent again byte for byte (see [onWay]). Indices are skipped only where a line's
// memory is lost.
func (c *Core) restore(now int64) error {
	var o orders.Orders
	if body := c.records.memory.data.book.read(); len(body) > 0 {
		if err := json.Unmarshal(body, &o); err != nil {
			return fmt.Errorf("the orders of the forwarder before: %w", err)
		}
	}
	if err := c.obey(&o, nil, now); err != nil {
		return fmt.Errorf("the orders of the forwarder before: %w", err)
	}
	c.restoreSources(now)
	for _, name := range slices.Sorted(maps.Keys(c.inherited)) {
		if number, ok := strings.CutPrefix(name, keptMemory); ok {
			if err := c.restoreLine(number, now); err != nil {
				c.log.Warn("a stream has to be published again", "reason", err)
			}
		}
	}
	c.followAgain()
	c.thaw(c.sources[c.permanent], now)
	c.restoreViewers(now)
	c.owesFrame = c.predecessor >= 0 && c.expectsFrame(now)
	return nil
}

func (c *Core) restoreSources(now int64) {
	for id, src := range c.sources {
		if fd, ok := c.inherited.take(keptFreezer + string(id)); ok {
			src.freeze.fd = fd
			c.keeper.keep(keptFreezer+string(id), fd)
		}
		if fd, ok := c.inherited.take(keptPidfd + string(id)); ok {
			if err := c.watch(src, fd); err != nil {
				c.log.Warn("the end of an app may be seen late", "source", id, "reason", err)
			}
		}
	}
}

// restoreLine goes on with a line, from its memory and its connection.
func (c *Core) restoreLine(number string, now int64) error {
	fd, _ := c.inherited.take(keptMemory + number)
	m, err := openMemory[lineMemory](fd)
	if err != nil {
		unix.Close(fd)
		return err
	}
	l, err := c.lineAgain(m)
	if err != nil {
		m.close()
		return fmt.Errorf("line %s: %w", number, err)
	}
	l.endAt = now
	if conn, ok := c.inherited.take(keptLine + number); ok {
		if err := c.poll.add(conn, unix.EPOLLIN, l); err != nil {
			unix.Close(conn)
		} else {
			l.fd = conn
			if c.predecessor < 0 {
				l.lastUnit = now // the time without a forwarder is no gap of the line's
				l.meter.pause()
			}
		}
	}
	if l.alive() {
		c.lockAgain(l)
	}
	c.addLine(l)
	c.keepLine(l)
	return nil
}

func (c *Core) lockAgain(l *line) {
	name := lineName(keptLock, l)
	fd, ok := c.inherited.take(name)
	if !ok {
		return
	}
	w, err := openLock([]int{fd})
	if err == nil && !c.ignores(orders.ByFutex) {
		c.watchLock(l, w)
		return
	}
	if err == nil {
		w.stop()
	}
	c.keeper.say(name) // that there is none
}

// lineAgain checks a line's memory and finds what it belongs to.
func (c *Core) lineAgain(m memory[lineMemory]) (*line, error) {
	state := &m.data.line
	src := c.sources[orders.SourceID(state.sourceID.String())]
	if src == nil {
		return nil, errors.New("its source is not among the orders")
	}
	spec, ok := src.stream(state.name.String())
	if !ok || c.streams[spec.Name] == nil {
		return nil, errors.New("its source does not declare it")
	}
	codec, err := c.codecFor(src, spec)
	if err != nil {
		return nil, err
	}
	if !m.data.arena.sound() || int(m.data.sdp.n) > len(m.data.sdp.bytes) {
		return nil, errors.New("its memory is not as it was left")
	}
	m.data.arena.mend()
	l := lineOf(m, src, c.streams[spec.Name], spec, codec)
	l.sdp = slices.Clone(m.data.sdp.bytes[:m.data.sdp.n])
	return l, nil
}

// followAgain puts every stream on the permanent version's line. What publishers
// sent meanwhile waits in their sockets; what was lost with the process, a key
// frame mends.
func (c *Core) followAgain() {
	for _, s := range c.streams {
		if l := c.target(s); l != nil {
			s.followed, s.entry, s.codec = l, l.arena.key, l.codec
			s.describe(l)
			l.lastWish = 0
			l.wishKey(c.now())
		}
	}
}

func (c *Core) restoreViewers(now int64) {
	for n := range maxRecords {
		at := c.records.place(n)
		if at.kind == freeRecord {
			continue
		}
		fds := c.descriptorsOf(at)
		if err := c.restoreViewer(at, fds, now); err != nil {
			c.log.Warn("a viewer is lost", "reason", err)
			at.free()
		} else {
			c.restored++
		}
		closeAll(fds)
	}
}

// descriptorsOf takes the kept descriptors of a viewer, in their order.
func (c *Core) descriptorsOf(at place) (fds []int) {
	for n := range maxDescriptors {
		fd, ok := c.inherited.take(at.descriptor(n))
		if !ok {
			break
		}
		fds = append(fds, fd)
	}
	return fds
}

// restoreViewer goes on with a viewer. Descriptors that are used are set to −1.
func (c *Core) restoreViewer(at place, fds []int, now int64) error {
	if len(fds) == 0 {
		return errors.New("its descriptors were not kept")
	}
	if at.kind == playerRecord {
		return c.restorePlayer(at, fds)
	}
	return c.restorePeer(at, fds, now)
}

func (c *Core) restorePeer(at place, fds []int, now int64) error {
	var spec handover.Viewer
	if err := at.written(&spec); err != nil {
		return err
	}
	p, err := newPeer(&spec, at.kind, at)
	if err != nil {
		return err
	}
	consent := p.consentAt
	if err := p.attach(c, fds[0], now); err != nil {
		return err
	}
	fds[0], p.consentAt = -1, consent
	c.peers[p.id] = p
	return c.orClose(&p.viewer, p.again(c))
}

// again goes on with a peer where another process has left it.
func (p *peer) again(c *Core) error {
	if err := c.joinAgain(&p.viewer, p.spec.Tracks); err != nil {
		return err
	}
	if p.kind == framedRecord {
		n, err := p.lost(p.fd)
		if err == nil {
			err = p.mend(n)
		}
		if err != nil {
			return err
		}
	}
	p.sendDoubtful(c)
	return nil
}

func (c *Core) restorePlayer(at place, fds []int) error {
	var spec handover.Player
	if err := at.written(&spec); err != nil {
		return err
	}
	p := newPlayer(&spec, at)
	if len(fds) != 1+2*len(p.paths) {
		return errors.New("not all of its descriptors were kept")
	}
	if err := p.attach(c, fds); err != nil {
		return err
	}
	c.players[p.id] = p
	return c.orClose(&p.viewer, p.again(c, spec.Tracks))
}

// again goes on with a player where another process has left it.
func (p *player) again(c *Core, tracks []handover.Track) error {
	if err := c.joinAgain(&p.viewer, tracks); err != nil {
		return err
	}
	if err := p.mendFlow(c); err != nil {
		return err
	}
	p.sendDoubtful(c)
	return nil
}

// orClose ends a viewer that cannot be gone on with.
func (c *Core) orClose(v *viewer, err error) error {
	var stranded *strandedError
	switch {
	case errors.As(err, &stranded):
		c.closeViewer(v, handover.EndedStream, err.Error())
	case err != nil:
		c.closeViewer(v, handover.EndedClosed, "")
	}
	return err
}

// joinAgain puts a viewer back on its streams.
func (c *Core) joinAgain(v *viewer, tracks []handover.Track) error {
	for i, t := range v.tracks {
		s := c.streamAgain(tracks[i].Stream, t.codec.String())
		if s == nil {
			return fmt.Errorf("stream %q is not declared any more", tracks[i].Stream)
		}
		if err := t.agreeAgain(s, tracks[i]); err != nil {
			return err
		}
		t.join(s)
		t.again(c.lines[t.onLine])
	}
	return nil
}

// streamAgain is a stream that viewers were on. While there are no sources they are
// held, and so is it.
func (c *Core) streamAgain(name, codecName string) *stream {
	s := c.streams[name]
	if codec := codecs[codecName]; s == nil && codec != nil && len(c.sources) == 0 {
		s = &stream{name: name, codec: codec}
		c.streams[name] = s
	}
	return s
}

// again puts a track back on the line that it was on; nil: that is gone.
func (t *track) again(l *line) {
	t.countOnWay()
	if l != nil && t.onLine != 0 && t.unit >= l.arena.unitTail && t.unit <= l.arena.unitHead {
		t.line = l
		return
	}
	t.at(nil)
	if t.packet > 0 { // in the middle of a unit, whose time is used up
		t.packet, t.last = 0, t.ts
	}
	t.index += skipped
	t.catchUp.left = 0
}

// closeInherited lets go of what nobody has taken. While a running forwarder may yet
// go on with it, it is not shut down.
func (c *Core) closeInherited() {
	for name, fd := range c.inherited {
		c.log.Debug("an inherited descriptor is of no use", "name", name)
		if c.predecessor < 0 {
			_ = unix.Shutdown(fd, unix.SHUT_RDWR)
		}
		unix.Close(fd)
		c.keeper.say(name) // that there is none
	}
	clear(c.inherited)
}

func lineName(kind string, l *line) string { return kind + strconv.FormatUint(l.number, 10) }
