package core

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// studio is two versions that capture one scene at the same instants, each in its
// own numbers and with its own delay, and one viewer of picture and sound.
type studio struct {
	soundBy *line // by whom the sound was when it was looked at last
	t       rapid.TB
	c       *Core
	now     int64
	sources map[orders.SourceID]*version
	viewer  viewer
	heard   map[*track]*hearing
}

type version struct {
	lines map[string]*shooting
	delay int64
	dead  bool
}

// shooting is one stream of a version.
type shooting struct {
	line  *line
	codec string
	seq   uint16
	base  uint32
	next  int64 // which frame
	every int64 // ns between them
	lose  func() bool
}

// hearing is what the viewer got on one track.
type hearing struct {
	seq     uint16
	ts      uint32
	last    int64 // capture time of the last unit
	units   int
	offTime int64 // how far the last unit's RTP time was from its capture
}

// sendUnit implements [egress] by looking.
func (s *studio) sendUnit(c *Core, t *track, u *unit) bool {
	return t.sendEach(c, u, func(c *Core, t *track, head *[rtpHeader]byte, pkt []byte) unix.Errno {
		s.hear(t, head, pkt)
		return 0
	})
}

func (s *studio) described(*track)              {}
func (s *studio) leaving(*Core, string, string) {}

// hear checks what must hold for every packet that a viewer gets.
func (s *studio) hear(t *track, head *[rtpHeader]byte, pkt []byte) {
	h := s.heard[t]
	seq, ts := binary.BigEndian.Uint16(head[2:]), binary.BigEndian.Uint32(head[4:])
	captured := int64(binary.BigEndian.Uint64(pkt[rtpHeader+16:]))
	if h.units > 0 && seq != h.seq+1 {
		s.t.Fatalf("%s: sequence number %d after %d", t.stream.name, seq, h.seq)
	}
	h.seq = seq
	if t.packet > 0 {
		if ts != h.ts {
			s.t.Fatalf("%s: two times in one picture", t.stream.name)
		}
		return
	}
	if h.units > 0 && int32(ts-h.ts) <= 0 {
		s.t.Fatalf("%s: time went from %d to %d", t.stream.name, h.ts, ts)
	}
	sound := t.stream.codec.sound()
	// A packet that waits for the one before it is older by one.
	if past := s.now - captured - s.sources[t.line.source.spec.ID].delay; sound && past > int64(maxSoundPast)+tick+soundEvery {
		s.t.Fatalf("sound of %v ago", time.Duration(past))
	}
	if sound && h.units > 0 && captured-h.last < soundEvery/2 {
		s.t.Fatalf("sound is heard again: %v after what came before", time.Duration(captured-h.last))
	}
	h.offTime = int64(int32(ts-t.base-ticks(captured, t.rate))) * int64(time.Second) / t.rate
	h.ts, h.last = ts, captured
	h.units++
}

const (
	pictureEvery = int64(time.Second) / 30
	soundEvery   = int64(20 * time.Millisecond)
	tick         = int64(5 * time.Millisecond) // of the studio
)

// newStudio makes one; number gives the beginnings of all numberings.
func newStudio(t rapid.TB, picture, sound string, number func() uint32, lose func() bool) *studio {
	s := &studio{t: t, now: int64(time.Hour) + int64(number()), sources: map[orders.SourceID]*version{}, heard: map[*track]*hearing{}}
	s.c = &Core{poll: &poller{}, sources: map[orders.SourceID]*source{}, streams: map[string]*stream{}, lines: map[uint64]*line{}}
	s.viewer.out = s
	specs := []orders.Stream{{Name: "main", Codec: picture, Audio: "mic"}, {Name: "mic", Codec: sound}}
	for _, spec := range specs {
		codec, err := codecOf(spec.Codec)
		if err != nil {
			t.Fatal(err)
		}
		st := &stream{name: spec.Name, codec: codec, want: "a-1"}
		s.c.streams[spec.Name] = st
		tr := &track{trackState: &trackState{index: uint64(number() & 0xffff), base: number()}, viewer: &s.viewer}
		s.viewer.tracks = append(s.viewer.tracks, tr)
		tr.join(st)
		s.heard[tr] = &hearing{}
	}
	for i, id := range []orders.SourceID{"a-1", "b-2"} {
		src := &source{spec: orders.Source{ID: id, Streams: specs}, lines: map[string]*line{}}
		s.c.sources[id] = src
		v := &version{lines: map[string]*shooting{}, delay: int64(number()%80) * int64(time.Millisecond)}
		s.sources[id] = v
		for k, spec := range specs {
			st := s.c.streams[spec.Name]
			l := lineOf(memory[lineMemory]{fd: -1, data: &lineMemory{}}, src, st, spec, st.codec)
			l.number, l.pt, l.fd = uint64(2*i+k+1), 96, wishes
			src.lines[spec.Name], s.c.lines[l.number] = l, l
			every := pictureEvery
			if st.codec.sound() {
				every = soundEvery
			}
			v.lines[spec.Name] = &shooting{line: l, codec: spec.Codec, seq: uint16(number()), base: number(), next: s.now / every, every: every, lose: lose}
		}
	}
	return s
}

// wishes is where key frame requests go: a descriptor that takes nothing.
const wishes = 1 << 20

// step lets the time pass until then, with all that comes meanwhile.
func (s *studio) step(until int64) {
	for ; s.now < until; s.now += tick {
		s.c.poll.base, s.c.poll.start = s.now, time.Now()
		for _, id := range slices.Sorted(maps.Keys(s.sources)) {
			v := s.sources[id]
			for _, name := range []string{"main", "mic"} {
				for x := v.lines[name]; x.next*x.every+v.delay <= s.now; x.next++ {
					if !v.dead {
						s.shoot(x)
					}
				}
			}
		}
		for _, name := range []string{"mic", "main", "mic"} { // the first is too early
			if st := s.c.streams[name]; st.followed != s.c.target(st) {
				s.c.settled(st, s.now)
			}
		}
		s.soundFollows()
	}
}

// soundFollows fails if the sound is at a source before its picture is.
func (s *studio) soundFollows() {
	picture, sound := s.c.streams["main"], s.c.streams["mic"]
	l := s.c.target(picture)
	went := sound.followed != s.soundBy // or it has stayed while the picture was away
	s.soundBy = sound.followed
	if went && sound.followed != nil && sound.followed == s.c.target(sound) && picture.followed != l && l.arena.hasKey {
		s.t.Fatalf("the sound is of %s, the picture not yet", l.source.spec.ID)
	}
}

// shoot sends one frame, as far as it is not lost on the way.
func (s *studio) shoot(x *shooting) {
	captured := x.next * x.every
	packets, key := 3, x.next%10 == 0 || x.codec == orders.MJPEG
	if x.line.codec.sound() {
		packets = 1
	}
	rtp := x.base + ticks(captured, x.line.rate)
	if x.next%20 == 0 || !x.line.clock.told {
		var clock [publish.ClockSize]byte
		clock[0] = publish.MsgClock
		binary.BigEndian.PutUint32(clock[1:], rtp)
		binary.BigEndian.PutUint64(clock[5:], uint64(captured))
		s.send(x.line, clock[:])
	}
	for i := range packets {
		x.seq++
		if x.lose() {
			continue
		}
		pkt := append([]byte{0x80, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, make([]byte, 1002)...)
		head := heads[x.codec][1]
		if key && i == 0 {
			head = heads[x.codec][0]
		}
		copy(pkt[rtpHeader:], head)
		if i == packets-1 {
			pkt[1] |= rtpMarker
		}
		binary.BigEndian.PutUint16(pkt[2:], x.seq)
		binary.BigEndian.PutUint32(pkt[4:], rtp)
		binary.BigEndian.PutUint64(pkt[rtpHeader+16:], uint64(captured))
		s.send(x.line, pkt)
	}
}

func (s *studio) send(l *line, msg []byte) {
	buf := l.arena.space()
	if refusal := l.take(s.c, buf[:copy(buf, msg)]); refusal != "" {
		s.t.Fatalf("%s: %s", l.spec.Codec, refusal)
	}
}

// turn makes the viewer want a source, for picture and sound.
func (s *studio) turn(id orders.SourceID) {
	s.c.turn(s.c.streams["main"], id, s.now)
	s.c.turn(s.c.streams["mic"], id, s.now)
}

// together fails if picture and sound come of different sources.
func (s *studio) together() {
	picture, sound := s.c.streams["main"].followed, s.c.streams["mic"].followed
	if picture != nil && sound != nil && picture.source != sound.source {
		s.t.Fatalf("the picture is of %s, the sound of %s", picture.source.spec.ID, sound.source.spec.ID)
	}
}

// onTime fails if picture or sound have drifted from the capture clock.
func (s *studio) onTime() {
	for t, h := range s.heard {
		if h.units == 0 {
			s.t.Fatalf("%s: nothing came", t.stream.name)
		}
		if h.offTime < -int64(time.Millisecond) || h.offTime > int64(time.Millisecond) {
			s.t.Fatalf("%s (%s): %v off the capture clock", t.stream.name, t.line.spec.Codec, time.Duration(h.offTime))
		}
	}
}

var (
	pictures = []string{orders.H264, orders.H265, orders.MJPEG}
	sounds   = []string{orders.Opus, orders.PCMU, orders.PCMA, orders.AAC}
)

// Over any sequence of switches, losses, deaths and wraps, in any codecs: sequence
// numbers have no gap, times never go back, sound is neither old nor heard twice, and
// picture and sound are on one clock.
func TestRewriting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		losing := rapid.SampledFrom([]int{0, 1, 20}).Draw(t, "losing")
		s := newStudio(t,
			rapid.SampledFrom(pictures).Draw(t, "picture"), rapid.SampledFrom(sounds).Draw(t, "sound"),
			func() uint32 { return rapid.Uint32().Draw(t, "number") },
			func() bool { return losing > 0 && rapid.IntRange(0, 99).Draw(t, "lost") < losing })
		ids := []orders.SourceID{"a-1", "b-2"}
		for range rapid.IntRange(1, 12).Draw(t, "switches") {
			id := rapid.SampledFrom(ids).Draw(t, "to")
			s.sources["a-1"].dead = rapid.IntRange(0, 5).Draw(t, "a is silent") == 0
			s.sources["b-2"].dead = rapid.IntRange(0, 5).Draw(t, "b is silent") == 0
			s.step(s.now + int64(rapid.IntRange(0, 400).Draw(t, "silent for"))*ms)
			s.turn(id)
			s.step(s.now + int64(rapid.IntRange(0, 700).Draw(t, "then"))*ms)
		}
		s.sources["a-1"].dead, s.sources["b-2"].dead = false, false
		for _, x := range s.sources["a-1"].lines {
			x.lose = func() bool { return false }
		}
		s.turn("a-1")
		s.step(s.now + 1500*ms)
		s.together()
		s.onTime()
	})
}

// After a thousand switches nothing has drifted.
func TestThousandSwitches(t *testing.T) {
	for i, picture := range pictures {
		sound := sounds[i+1]
		t.Run(fmt.Sprintf("%s+%s", picture, sound), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(i)))
			s := newStudio(t, picture, sound, random.Uint32, func() bool { return random.IntN(200) == 0 })
			for n := range 1000 {
				s.turn([]orders.SourceID{"a-1", "b-2"}[n%2])
				s.step(s.now + int64(50+random.IntN(200))*ms)
			}
			for _, v := range s.sources {
				for _, x := range v.lines {
					x.lose = func() bool { return false }
				}
			}
			s.step(s.now + 1000*ms)
			s.together()
			s.onTime()
		})
	}
}
