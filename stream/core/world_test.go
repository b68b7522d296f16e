package core_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"slipstream/stream/core"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
	"slipstream/stream/subscribe"
)

// patience bounds every wait of these tests; the machines are busy.
const patience = time.Minute

// world is a forwarder with its agent's connection, as the agent sees it.
type world struct {
	t      *testing.T
	run    string
	config core.Config
	agent  *orders.Conn
	events chan orders.Message
	req    uint64
	stop   context.CancelFunc
	done   chan error
}

func newWorld(t *testing.T, ignore ...string) *world {
	return newWorldWith(t, core.Config{Ignore: ignore})
}

func newWorldWith(t *testing.T, config core.Config) *world {
	run, err := os.MkdirTemp("", "fwd") // unix socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	config.Run = run
	w := &world{t: t, run: run, config: config}
	w.startCore()
	w.connect()
	return w
}

func (w *world) startCore() {
	c, err := core.New(w.config, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	w.stop, w.done = stop, done
	go func() { done <- c.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.t.Errorf("core ended with %v", err)
		}
		done <- context.Canceled
	})
}

// connect makes a new agent's connection.
func (w *world) connect() {
	conn, err := orders.Dial(filepath.Join(w.run, "orders.sock"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	events := make(chan orders.Message, 1000)
	w.agent, w.events = conn, events
	go func() {
		defer close(events)
		for {
			m, err := conn.Receive()
			if err != nil {
				return
			}
			events <- m
		}
	}()
}

// ask sends a request and returns its answer; events that come before it are dropped.
func (w *world) ask(r orders.Request, fds ...int) orders.Message {
	w.t.Helper()
	w.req++
	r.Req = w.req
	if err := w.agent.Send(r, fds...); err != nil {
		w.t.Fatal(err)
	}
	return w.await(fmt.Sprintf("answer to %+v", r), func(m orders.Message) bool { return m.Req == w.req })
}

func (w *world) await(what string, match func(orders.Message) bool) orders.Message {
	w.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m, ok := <-w.events:
			if !ok {
				w.t.Fatalf("connection ended while waiting for %s", what)
			}
			if match(m) {
				return m
			}
		case <-timeout:
			w.t.Fatalf("no %s", what)
		}
	}
}

func (w *world) awaitSwitch() orders.Switched {
	w.t.Helper()
	return *w.await("switch", func(m orders.Message) bool { return m.Switch != nil }).Switch
}

func (w *world) awaitRevert() orders.Reverted {
	w.t.Helper()
	return *w.await("revert", func(m orders.Message) bool { return m.Revert != nil }).Revert
}

func (w *world) order(o orders.Orders, fds ...int) {
	w.t.Helper()
	if a := w.ask(orders.Request{Orders: &o}, fds...); a.Result != orders.ResultOK {
		w.t.Fatalf("orders: %+v", a)
	}
}

func (w *world) status() orders.Status {
	w.t.Helper()
	return *w.ask(orders.Request{Status: true}).Status
}

// src declares a source with one stream "main".
func src(id string, stallMS int64) orders.Source {
	return orders.Source{
		ID: orders.SourceID(id), Version: id, UID: -1,
		Streams: []orders.Stream{{Name: "main", Codec: "h264", StallMS: stallMS}},
	}
}

func trialOf(id, source string, in time.Duration) *orders.Trial {
	return &orders.Trial{ID: orders.TrialID(id), Source: orders.SourceID(source), Deadline: int64(publish.Monotonic() + in)}
}

// Parameter sets of x264, 320x180: baseline, and main with two B-frames.
var (
	spsBaseline = fromHex("6742c00dd901419f9f0110000003001000000303c0f142a480")
	ppsBaseline = fromHex("68cb83cb20")
	spsReorder  = fromHex("674d400deca0a0cfcf8088000003000800000301e078a14cb0")
)

func fromHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func sdpOf(sps, pps []byte) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return []byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n" +
		"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=" + b64(sps) + "," + b64(pps) + "\r\n")
}

// frame is what a test camera writes into a slice and a test viewer reads back.
type frame struct {
	letter byte
	number uint32
	key    bool
}

const frameMark = 0xa5

// packets makes the RTP packets of a frame: parts of it as FU-A.
func (f frame) packets(seq *uint16, ts uint32, parts int) [][]byte {
	nal := byte(0x61)
	if f.key {
		nal = 0x65
	}
	var out [][]byte
	for i := range parts {
		p := []byte{0x80, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}
		binary.BigEndian.PutUint16(p[2:], *seq)
		binary.BigEndian.PutUint32(p[4:], ts)
		*seq++
		fu := nal & 0x1f
		if i == 0 {
			fu |= 0x80
		}
		if i == parts-1 {
			fu |= 0x40
			p[1] |= 0x80
		}
		p = append(p, nal&0x60|28, fu)
		if i == 0 {
			p = append(p, 0x98) // first_mb 0, P slice
			p = append(p, frameMark, f.letter)
			p = binary.BigEndian.AppendUint32(p, f.number)
		}
		out = append(out, append(p, make([]byte, 900)...))
	}
	return out
}

const (
	frameTime = 10 * time.Millisecond
	frameTick = 900
)

// camera publishes frames of one source until it is closed: number counts
// frame times of CLOCK_MONOTONIC, so all cameras see the same scene.
type camera struct {
	t      *testing.T
	conn   *publish.Conn
	letter byte
	gop    uint32
	seq    uint16
	base   uint32

	mu     sync.Mutex
	paused bool
	every  uint32        // only each so-manieth frame is sent; 0: all
	parts  int           // packets of a frame
	behind time.Duration // how long a frame is under way before it is sent
	stop   chan struct{}
	done   chan struct{}
	once   sync.Once
}

func (w *world) camera(id string, letter byte, gop uint32) *camera {
	w.t.Helper()
	conn, err := publish.Dial(filepath.Join(w.run, "pub", id+".sock"), "main", sdpOf(spsBaseline, ppsBaseline))
	if err != nil {
		w.t.Fatal(err)
	}
	c := &camera{
		t: w.t, conn: conn, letter: letter, gop: gop, base: uint32(letter) * 12345678, parts: 3,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go c.play()
	w.t.Cleanup(c.close)
	return c
}

func (c *camera) play() {
	defer close(c.done)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	next := int64(publish.Monotonic()/frameTime) + 1
	for first := true; ; {
		select {
		case <-c.stop:
			return
		case <-c.conn.Done():
			return
		case <-tick.C:
		}
		for ; time.Duration(next)*frameTime <= publish.Monotonic(); next++ {
			n := uint32(next)
			c.mu.Lock()
			skip, parts, behind := c.paused || c.every > 1 && n%c.every != 0, c.parts, c.behind
			c.mu.Unlock()
			if skip {
				continue
			}
			ts := c.base + n*frameTick
			f := frame{c.letter, n, first || (n+uint32(c.letter))%c.gop == 0}
			if first || n%50 == 0 || behind > 0 {
				c.conn.WriteClock(ts, time.Duration(next)*frameTime-behind, uint64(next))
			}
			first = false
			for _, p := range f.packets(&c.seq, ts, parts) {
				if c.conn.WriteRTP(p) != nil {
					return
				}
			}
		}
	}
}

func (c *camera) pause(on bool) { c.change(func() { c.paused = on }) }

func (c *camera) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

// close ends the camera between two frames, as an app that exits.
func (c *camera) close() {
	c.once.Do(func() { close(c.stop) })
	<-c.done
	c.conn.Close()
}

// picture is an access unit as a viewer got it.
type picture struct {
	frame
	at      time.Duration
	ts      uint32
	packets int
	whole   bool
}

// viewer reads packets, checks what must never break, and keeps the pictures.
type viewer struct {
	t    *testing.T
	conn *subscribe.Conn
	done chan struct{}

	mu       sync.Mutex
	pictures []picture
	breaks   []string
	holes    int // frames of the scene that were never shown
	seq      uint16
	seqSet   bool
	grown    chan struct{} // receives after each picture
}

func (w *world) viewer() *viewer {
	w.t.Helper()
	conn, err := subscribe.Dial(filepath.Join(w.run, "viewers.sock"), "main", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	v := &viewer{t: w.t, conn: conn, done: make(chan struct{}), grown: make(chan struct{}, 1)}
	go v.watch()
	w.t.Cleanup(func() { conn.Close(); <-v.done })
	return v
}

func (v *viewer) watch() {
	defer close(v.done)
	buf := make([]byte, 20<<10)
	cur := picture{}
	for {
		n, err := v.conn.Read(buf)
		if err != nil {
			return
		}
		v.packet(buf[:n], &cur)
	}
}

func (v *viewer) packet(p []byte, cur *picture) {
	v.mu.Lock()
	defer v.mu.Unlock()
	seq, ts := binary.BigEndian.Uint16(p[2:]), binary.BigEndian.Uint32(p[4:])
	if v.seqSet && seq != v.seq {
		v.breaks = append(v.breaks, fmt.Sprintf("sequence %d instead of %d", seq, v.seq))
	}
	v.seq, v.seqSet = seq+1, true
	if cur.packets == 0 {
		*cur = picture{at: publish.Monotonic(), ts: ts}
	}
	cur.packets++
	switch pl := p[12:]; {
	case pl[0]&0x1f == 28 && pl[1]&0x80 != 0 && pl[3] == frameMark:
		cur.letter, cur.number, cur.key = pl[4], binary.BigEndian.Uint32(pl[5:]), pl[1]&0x1f == 5
	case pl[0]&0x1f == 28 && pl[1]&0x40 != 0:
		cur.whole = true
	}
	if p[1]&0x80 == 0 {
		return
	}
	v.end(*cur)
	*cur = picture{}
}

// end checks a whole picture against the one before it.
func (v *viewer) end(p picture) {
	if !p.whole || p.letter == 0 {
		v.breaks = append(v.breaks, fmt.Sprintf("half a picture: %+v", p))
	}
	if n := len(v.pictures); n > 0 {
		last := v.pictures[n-1]
		if int32(p.ts-last.ts) <= 0 {
			v.breaks = append(v.breaks, fmt.Sprintf("time went from %d to %d", last.ts, p.ts))
		}
		follows := p.letter == last.letter && p.number == last.number+1
		if !p.key && !follows {
			v.breaks = append(v.breaks, fmt.Sprintf("%c%d follows %c%d and is no key frame", p.letter, p.number, last.letter, last.number))
		}
		if p.key && p.number > last.number+1 {
			v.holes += int(p.number - last.number - 1)
		}
	} else if !p.key {
		v.breaks = append(v.breaks, "the first picture is no key frame")
	}
	v.pictures = append(v.pictures, p)
	select {
	case v.grown <- struct{}{}:
	default:
	}
}

// until waits for a picture that matches, from number from on, and returns its index.
func (v *viewer) until(what string, from int, match func(picture) bool) int {
	v.t.Helper()
	timeout := time.After(patience)
	for {
		v.mu.Lock()
		for i := from; i < len(v.pictures); i++ {
			if match(v.pictures[i]) {
				v.mu.Unlock()
				return i
			}
		}
		from = max(from, len(v.pictures))
		v.mu.Unlock()
		select {
		case <-v.grown:
		case <-v.done:
			v.t.Fatalf("viewer was closed while waiting for %s", what)
		case <-timeout:
			v.t.Fatalf("viewer saw no %s", what)
		}
	}
}

func (v *viewer) untilLetter(letter byte, from int) int {
	v.t.Helper()
	return v.until("picture of "+string(letter), from, func(p picture) bool { return p.letter == letter })
}

// count returns how many pictures came so far.
func (v *viewer) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.pictures)
}

func (v *viewer) slice(from, to int) []picture {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]picture(nil), v.pictures[from:to]...)
}

// unbroken fails the test for every break seen so far, and for frames of the
// scene that were never shown.
func (v *viewer) unbroken() {
	v.t.Helper()
	v.mu.Lock()
	if v.holes > 0 {
		v.t.Errorf("%d frames were never shown", v.holes)
	}
	v.mu.Unlock()
	v.unbrokenButHoles()
}

// unbrokenButHoles is for a version that sent nothing for a while.
func (v *viewer) unbrokenButHoles() {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, b := range v.breaks {
		v.t.Error(b)
	}
}
