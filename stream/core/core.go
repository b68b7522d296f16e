package core

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/handover"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// Config says where the forwarder's sockets are.
type Config struct {
	// Run holds orders.sock, viewers.sock, handover.sock and pub/SOURCE.sock.
	Run string
	// Consent is how long a WebRTC viewer may leave its consent unrefreshed; 0
	// means 30 s, as RFC 7675 §5.1 has it.
	Consent time.Duration
	// Priority asks for FIFO scheduling of the core thread.
	Priority bool
	// NoGSO sends datagrams one by one, where the kernel could cut them out of larger
	// messages: for tests, benchmarks, and drivers of networks that get it wrong.
	NoGSO bool
	// Ignore names ways of seeing a death (orders.ByFutex, …) that are switched
	// off, so that tests and benchmarks can prove the others.
	Ignore []string
	// Predecessor is the connection to a running forwarder that hands over (see
	// [Succeed]); 0: there is none.
	Predecessor int
	// Inherited holds what an earlier forwarder has left (see [Inherited]). New takes
	// them all, those that are of no use to close them.
	Inherited map[string]int
	// Notify is the socket of sd_notify(3) by which descriptors are kept for the next
	// forwarder; "": nobody keeps them.
	Notify string
}

// Core forwards packets. Everything in it belongs to the goroutine that calls
// [Core.Run].
type Core struct {
	config Config
	log    *slog.Logger
	poll   *poller
	agent  *agentConn // nil while no agent is connected
	agents uint64     // connections of agents so far

	gateway *gatewayConn     // nil while none is connected
	peers   map[string]*peer // WebRTC viewers
	players map[string]*player
	used    usedKeys
	records *records
	lines   map[uint64]*line // by number: those that viewers may still be sent packets of

	keeper      *keeper
	deposit     deposit // the agent's descriptors
	inherited   inherited
	restored    int  // viewers that came from an earlier forwarder
	predecessor int  // connection to it, until the first frame was sent; −1: there is none
	owesFrame   bool // the predecessor waits for one
	shown       bool // an access unit was sent to a viewer
	successor   *successor

	standing
	version   string // of the last source that was permanent
	sources   map[orders.SourceID]*source
	streams   map[string]*stream
	silent    map[*subscription]int64 // connected since, and not yet on a stream
	judgement *judging                // of the last trial that carried the streams
	reversion *reversion              // nil: none under way
	amendment *amendment              // nil: none is due
	locks     locks
	nextWish  int64
	nextKick  int64
	nextTend  int64
	tendRound int // counts the calls of tendSome

	sender   sender
	batch    batch
	burst    burst
	head     [rtpHeader]byte
	prefix   [lengthPrefix]byte
	firstOut int64 // 0: wanted; −1: not wanted; else when a revert's first packet went out
	scratch  [publish.MaxHello + 1]byte
	plain    [maxDatagram]byte                      // an opened or not yet sealed RTCP packet
	sealed   [publish.MaxPacket + srtpOverhead]byte // one packet that a WebRTC viewer is sent
}

// New opens the forwarder's sockets.
func New(config Config, log *slog.Logger) (*Core, error) {
	config.Consent = cmp.Or(config.Consent, consentExpiry)
	poll, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("forwarder: %w", err)
	}
	c := &Core{
		config: config, log: log, poll: poll, firstOut: -1,
		sources: map[orders.SourceID]*source{}, streams: map[string]*stream{}, silent: map[*subscription]int64{},
		peers: map[string]*peer{}, players: map[string]*player{}, lines: map[uint64]*line{},
		predecessor: cmp.Or(config.Predecessor, -1),
		deposit:     deposit{of: map[string]deposited{}},
		keeper:      newKeeper(config.Notify), inherited: maps.Clone(inherited(config.Inherited)),
	}
	if err := c.begin(); err != nil {
		poll.closeAll()
		return nil, fmt.Errorf("forwarder: %w", err)
	}
	return c, nil
}

// begin opens what the core works with, or goes on with what an earlier one had.
func (c *Core) begin() error {
	again, err := c.openLedger()
	if err != nil {
		return err
	}
	c.used = newUsedKeys(&c.records.memory.data.keys)
	c.ended.restore(&c.records.memory.data.ended)
	c.keeper.keep(keptLedger, c.records.memory.fd)
	c.poll.rebind(c.poll.event, alarms(c.poll.event))
	if err := c.listen(); err != nil {
		return err
	}
	if again {
		if err := c.restore(c.now()); err != nil {
			c.log.Error("nothing could be restored", "reason", err)
		}
	}
	c.restoreDeposit()
	c.closeInherited()
	return nil
}

// openLedger goes on with an earlier forwarder's ledger, if there is one that can be
// read, and else begins one. It reports which.
func (c *Core) openLedger() (again bool, err error) {
	if fd, ok := c.inherited.take(keptLedger); ok {
		if c.records, err = openRecords(fd); err == nil {
			return true, nil
		}
		unix.Close(fd)
		if c.predecessor >= 0 {
			return false, err
		}
		c.log.Warn("viewers of the forwarder before are lost", "reason", err)
		c.closeInherited()
	}
	c.records, err = newRecords()
	return false, err
}

func (c *Core) listen() error {
	for _, l := range []struct {
		file string
		of   func(fd int) handler
	}{
		{"viewers.sock", func(fd int) handler { return subscriptionListener(fd) }},
		{handover.Socket, func(fd int) handler { return gatewayListener(fd) }},
		{"orders.sock", func(fd int) handler { return agentListener(fd) }},
		{successionSocket, func(fd int) handler { return successionListener(fd) }},
	} {
		fd, err := c.listenAt(keptListen+l.file, filepath.Join(c.config.Run, l.file))
		if err != nil {
			return err
		}
		if err := c.poll.add(fd, unix.EPOLLIN, l.of(fd)); err != nil {
			return err
		}
	}
	return nil
}

// listenAt opens a socket that is kept under a name, or takes the one that was.
func (c *Core) listenAt(name, path string) (fd int, err error) {
	fd, ok := c.inherited.take(name)
	if !ok {
		if fd, err = seqpacketListen(path); err != nil {
			return -1, err
		}
	}
	c.keeper.keep(name, fd)
	return fd, nil
}

// Run forwards until ctx ends, and then closes every connection; or until a
// successor has taken all of them over, and returns [ErrSucceeded].
func (c *Core) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.keeper.say(readyName)
	punctual()
	breath := breather{fifo: c.raisePriority()}
	defer c.lowerPriority()
	defer c.keeper.close()
	defer c.deposit.close()
	defer c.poll.closeAll()
	defer c.stopLocks()
	stop := c.poll.wakeOn(ctx)
	defer stop()
	c.advance(c.now())
	for ctx.Err() == nil {
		asleep := c.now()
		n, err := c.poll.wait()
		if err != nil {
			return fmt.Errorf("forwarder: wait: %w", err)
		}
		now := c.now()
		if breath.due(asleep, now) {
			breath.take()
			now = c.now()
		}
		for i := range n {
			if h := c.poll.handler(i); h != nil {
				h.ready(c, now)
			}
		}
		c.advance(c.now())
		if c.successor == nil {
			continue
		}
		if err := c.handOver(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (c *Core) now() int64 { return c.poll.now() }

// ntp is the wall clock as RTCP tells it, running with CLOCK_MONOTONIC whatever
// is done to the device's clock meanwhile.
func (c *Core) ntp(mono int64) uint64 {
	return ntpTime(c.poll.start.UnixNano() + mono - c.poll.base)
}

// advance does what is due: the rules that hold whatever has just happened.
func (c *Core) advance(now int64) {
	if cause := c.trial.expired(now); cause != "" {
		c.revert(cause, expiry[cause], now)
	}
	c.judgeStalls(now)
	c.judge(now)
	c.trySwitch(now)
	c.goOnReverting(now)
	for _, s := range c.streams {
		if s.followed == nil || s.followed != c.target(s) {
			if done, _, report := c.settled(s, now); done {
				c.amend(s, report)
			}
		}
	}
	c.wishTrialKeys(now)
	c.reportFirstFrame()
	if now >= c.nextKick {
		c.nextKick = now + int64(time.Second)
		c.kickStuck(now)
		c.hangUpSilent(now)
		c.thawSilent(now)
		c.forgetLines(now)
		c.poll.rested()
	}
	if now >= c.nextTend {
		c.tendSome(now)
	}
	due := c.due(now)
	if c.keeper.flush(); len(c.keeper.late) > 0 {
		due = min(due, now+int64(keepPause))
	}
	c.poll.arm(due, now)
}

var expiry = map[string]string{
	orders.CauseDeadline: "the trial's deadline passed without a greenlight",
	orders.CauseLease:    "the agent asked to commit and was not heard of again",
}

// due is when advance has something to do even if nothing happens.
func (c *Core) due(now int64) int64 {
	due := min(c.nextKick, c.nextTend)
	for _, s := range c.streams {
		if s.giveUp > now {
			due = min(due, s.giveUp)
		}
	}
	if c.trial.phase == steady {
		return due
	}
	due = min(due, c.trial.due(), c.nextWish, c.judging().due())
	if src := c.sources[c.trial.source]; c.trial.carries() && src != nil {
		for _, l := range src.lines {
			if l.spec.StallMS > 0 {
				due = min(due, max(l.stall.due(c.stallLimit(l, c.other(l), now)), now+1))
			}
		}
	}
	return due
}

// other is the permanent source's line of the same stream.
func (c *Core) other(l *line) *line {
	if src := c.sources[c.permanent]; src != nil {
		return src.lines[l.stream.name]
	}
	return nil
}

// unitDone shows a new access unit to the viewers who follow its line.
func (c *Core) unitDone(l *line) {
	if l.stream.followed == l {
		l.stream.listened(l)
		c.pumpAll(l.stream)
	}
}

// lost tells the agent that a source is gone, and reverts a trial that rested on it.
func (c *Core) lost(event orders.SourceLost) {
	c.tell(orders.Message{Lost: &event})
	if c.trial.phase != steady && c.trial.source == event.Source {
		c.revertSeen(event.Cause, event.By, event.Detail, event.At)
	}
}
