package core

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
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
	// Ignore names ways of seeing a death (orders.ByFutex, …) that are switched
	// off, so that tests and benchmarks can prove the others.
	Ignore []string
}

// Core forwards packets. Everything in it belongs to the goroutine that calls
// [Core.Run].
type Core struct {
	config Config
	log    *slog.Logger
	poll   *poller
	agent  *agentConn // nil while no agent is connected

	gateway *gatewayConn     // nil while none is connected
	peers   map[string]*peer // WebRTC viewers
	players map[string]*player
	used    usedKeys
	records *records
	lines   map[uint64]*line // by number: those that viewers may still be sent packets of

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

	sender   sender
	batch    batch
	head     [rtpHeader]byte
	prefix   [lengthPrefix]byte
	firstOut int64 // 0: wanted; −1: not wanted; else when a revert's first packet went out
	scratch  [publish.MaxHello + 1]byte
	plain    [maxDatagram]byte                      // an opened or not yet sealed RTCP packet
	sealed   [publish.MaxPacket + srtpOverhead]byte // what a WebRTC viewer is sent
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
	}
	if c.records, err = newRecords(); err != nil {
		poll.closeAll()
		return nil, fmt.Errorf("forwarder: %w", err)
	}
	c.used = newUsedKeys(&c.records.memory.data.keys)
	poll.rebind(poll.event, alarms(poll.event))
	if err := c.listen(); err != nil {
		poll.closeAll()
		return nil, fmt.Errorf("forwarder: %w", err)
	}
	return c, nil
}

func (c *Core) listen() error {
	viewers, err := seqpacketListen(filepath.Join(c.config.Run, "viewers.sock"))
	if err != nil {
		return err
	}
	if err := c.poll.add(viewers, unix.EPOLLIN, subscriptionListener(viewers)); err != nil {
		return err
	}
	gateways, err := seqpacketListen(filepath.Join(c.config.Run, handover.Socket))
	if err != nil {
		return err
	}
	if err := c.poll.add(gateways, unix.EPOLLIN, gatewayListener(gateways)); err != nil {
		return err
	}
	agents, err := seqpacketListen(filepath.Join(c.config.Run, "orders.sock"))
	if err != nil {
		return err
	}
	return c.poll.add(agents, unix.EPOLLIN, agentListener(agents))
}

// Run forwards until ctx ends, and then closes every connection.
func (c *Core) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	breath := breather{fifo: c.raisePriority()}
	defer c.lowerPriority()
	defer c.poll.closeAll()
	defer c.stopLocks()
	stop := c.poll.wakeOn(ctx)
	defer stop()
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
	if now >= c.nextKick {
		c.nextKick = now + int64(time.Second)
		c.kickStuck(now)
		c.tendPeers(now)
		c.tendPlayers(now)
		c.hangUpSilent(now)
		c.forgetLines(now)
		c.poll.rested()
	}
	c.poll.arm(c.due(now), now)
}

var expiry = map[string]string{
	orders.CauseDeadline: "the trial's deadline passed without a greenlight",
	orders.CauseLease:    "the agent asked to commit and was not heard of again",
}

// due is when advance has something to do even if nothing happens.
func (c *Core) due(now int64) int64 {
	due := c.nextKick
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
