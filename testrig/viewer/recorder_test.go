package viewer_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pion/rtp"

	"slipstream/testrig/camera"
	"slipstream/testrig/viewer"
)

// script plays packets of its own making into a recorder: what a viewer must
// notice is put there on purpose.
type script struct {
	rec   *viewer.Recorder
	seq   uint16
	delay time.Duration // of every arrival, behind the capture
	shift uint32        // of every RTP time
	drop  int           // this packet of the next frame is lost, from 1
	twice int           // this one comes twice
}

// first is the counter that scripts begin at; its capture is the time zero of windows.
const first = 1000

const lag = 5 * time.Millisecond

func newScript() *script {
	return &script{rec: viewer.NewRecorder(), seq: 65530, delay: lag, shift: 1<<32 - 8*3000 - first*3000} // both wrap soon
}

// run sends the frames from..to of a version, a key frame where one is due.
func (s *script) run(version string, from, to uint64) {
	for n := from; n <= to; n++ {
		s.frame(version, n, n%10 == 0)
	}
}

func (s *script) frame(version string, n uint64, key bool) {
	packets := packetsOf(version, n, key, s.seq, uint32(n)*3000+s.shift)
	s.seq += uint16(len(packets))
	for i, p := range packets {
		if s.drop == i+1 {
			continue
		}
		s.rec.Packet(camera.FrameTime(n)+s.delay, p)
		if s.twice == i+1 {
			s.rec.Packet(camera.FrameTime(n)+s.delay, p)
		}
	}
	s.drop, s.twice = 0, 0
}

// packetsOf is a frame in the shapes that cameras send: one NAL unit a packet,
// several in one (STAP-A), one in several (FU-A).
func packetsOf(version string, n uint64, key bool, seq uint16, ts uint32) (packets []*rtp.Packet) {
	stamp := camera.Stamp{Version: version, Counter: n, Captured: camera.FrameTime(n)}.SEI()
	payloads := [][]byte{stamp, {0x41, 0x9a, 1}}
	if key {
		sets := append([]byte{24, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 1, 0, byte(len(stamp))}, stamp...)
		payloads = [][]byte{sets, {28, 0x85, 1}, {28, 0x05, 2}, {28, 0x45, 3}}
	}
	for i, payload := range payloads {
		p := &rtp.Packet{Payload: payload}
		p.Version, p.PayloadType = 2, 96
		p.SequenceNumber, p.Timestamp, p.Marker = seq+uint16(i), ts, i == len(payloads)-1
		packets = append(packets, p)
	}
	return packets
}

const interval = 1000.0 / camera.FrameRate

func TestReportCountsEachDefect(t *testing.T) {
	tests := []struct {
		name string
		play func(s *script)
		want viewer.Report
	}{
		{"nothing wrong", func(s *script) {
			s.run("1.0", first, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: interval, Versions: []string{"1.0"}}},

		{"joined in the middle of a group of pictures", func(s *script) {
			s.run("1.0", first+4, 1029)
		}, viewer.Report{Frames: 26, LongestGapMS: 4*interval + 5, Versions: []string{"1.0"}}},

		{"last packet of a frame lost: it and all up to the next key frame cannot be shown", func(s *script) {
			s.run("1.0", first, 1004)
			s.drop = 2
			s.run("1.0", 1005, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: 2 * interval, FramesLost: 5, SeqBreaks: 1, Versions: []string{"1.0"}}},

		{"first packet of a key frame lost", func(s *script) {
			s.run("1.0", first, 1009)
			s.drop = 1
			s.run("1.0", 1010, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: 2 * interval, FramesLost: 10, SeqBreaks: 1, Versions: []string{"1.0"}}},

		{"middle of a key frame lost", func(s *script) {
			s.run("1.0", first, 1009)
			s.drop = 3
			s.run("1.0", 1010, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: 2 * interval, FramesLost: 10, SeqBreaks: 1, Versions: []string{"1.0"}}},

		{"two frames before a key frame never sent", func(s *script) {
			s.run("1.0", first, 1007)
			s.run("1.0", 1010, 1029)
		}, viewer.Report{Frames: 28, LongestGapMS: 3 * interval, FramesLost: 2, Versions: []string{"1.0"}}},

		{"one frame never sent, and what refers to it is of no use", func(s *script) {
			s.run("1.0", first, 1006)
			s.run("1.0", 1008, 1029)
		}, viewer.Report{Frames: 29, LongestGapMS: 2 * interval, FramesLost: 3, Versions: []string{"1.0"}}},

		{"a switch at a key frame, nothing shown twice", func(s *script) {
			s.run("1.0", first, 1009)
			s.run("2.0", 1010, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: interval, Versions: []string{"1.0", "2.0"}}},

		{"a switch in the middle of a group of pictures", func(s *script) {
			s.run("1.0", first, 1006)
			s.run("2.0", 1007, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: interval, FramesLost: 3, Versions: []string{"1.0", "2.0"}}},

		{"a frame of another version in between", func(s *script) {
			s.run("1.0", first, 1006)
			s.frame("2.0", 1007, false)
			s.run("1.0", 1008, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: interval, FramesLost: 3, Versions: []string{"1.0", "2.0", "1.0"}}},

		{"scenes that nobody showed at a switch", func(s *script) {
			s.run("1.0", first, 1004)
			s.run("2.0", 1010, 1029)
		}, viewer.Report{Frames: 25, LongestGapMS: 6 * interval, SkippedFrames: 5, Versions: []string{"1.0", "2.0"}}},

		{"a revert that shows four scenes again", func(s *script) {
			s.run("2.0", first, 1013)
			s.delay, s.shift = lag+4*1000/30*time.Millisecond, s.shift+4*3000
			s.run("1.0", 1010, 1025)
		}, viewer.Report{Frames: 30, LongestGapMS: interval, ReplayedFrames: 4, ContentJumpMS: 3 * interval, Versions: []string{"2.0", "1.0"}}},

		{"an RTP time that stands still, then one that goes back", func(s *script) {
			s.run("1.0", first, 1004)
			s.shift -= 3000
			s.run("1.0", 1005, 1005)
			s.shift -= 6000
			s.run("1.0", 1006, 1006)
			s.shift += 9000
			s.run("1.0", 1007, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: interval, TimestampBreaks: 2, Versions: []string{"1.0"}}},

		{"RTP times a second ahead from one frame on", func(s *script) {
			s.run("1.0", first, 1019)
			s.shift += 90000
			s.run("1.0", 1020, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: interval, TimestampBreaks: 1, Versions: []string{"1.0"}}},

		{"RTP times that fall behind without a silence", func(s *script) {
			s.run("1.0", first, 1019)
			for n := uint64(1020); n <= 1029; n++ {
				s.shift -= 2990
				s.run("1.0", n, n)
			}
		}, viewer.Report{Frames: 30, LongestGapMS: interval, TimestampBreaks: 1, Versions: []string{"1.0"}}},

		{"a hang, and the frames that fill its silence with its times", func(s *script) {
			s.run("2.0", first, 1009)
			for n := uint64(1010); n <= 1024; n++ {
				s.delay = camera.FrameTime(1024) - camera.FrameTime(n) + lag
				s.run("1.0", n, n)
			}
			s.run("1.0", 1025, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: 15 * interval, Versions: []string{"2.0", "1.0"}}},

		{"a silence", func(s *script) {
			s.run("1.0", first, 1014)
			s.delay += 400 * time.Millisecond
			s.run("1.0", 1015, 1017)
		}, viewer.Report{Frames: 18, LongestGapMS: 400 + interval, Versions: []string{"1.0"}}},

		{"the end of the stream", func(s *script) {
			s.run("1.0", first, 1009)
		}, viewer.Report{Frames: 10, LongestGapMS: 20*interval - 5, Versions: []string{"1.0"}}},

		{"nothing at all", func(*script) {}, viewer.Report{LongestGapMS: 29 * interval}},

		{"a packet that comes twice", func(s *script) {
			s.run("1.0", first, 1009)
			s.twice = 2
			s.run("1.0", 1010, 1029)
		}, viewer.Report{Frames: 30, LongestGapMS: interval, Duplicates: 1, Versions: []string{"1.0"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newScript()
			test.play(s)
			to := max(lastArrival(t, s.rec), camera.FrameTime(1029))
			got := s.rec.Report(camera.FrameTime(first), to)
			if diff := cmp.Diff(test.want, got, cmpopts.EquateApprox(0, 1), cmpopts.IgnoreFields(viewer.Report{}, "LongestGapAtMS")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func lastArrival(t *testing.T, rec *viewer.Recorder) (last time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rec.Wait(ctx, "every unit", func(u viewer.Unit) bool { last = u.Last; return false })
	return last
}

func TestWindowsLeaveOutWhatIsOutside(t *testing.T) {
	s := newScript()
	s.run("1.0", first, 1006)
	s.run("1.0", 1008, 1029) // 3 frames lost up to 1010
	for _, w := range []struct {
		from, to uint64
		lost     int
	}{{1000, 1007, 0}, {1008, 1009, 3}, {1010, 1029, 0}, {1000, 1029, 3}} {
		got := s.rec.Report(camera.FrameTime(w.from)+lag, camera.FrameTime(w.to)+lag)
		if got.FramesLost != w.lost || got.Clean() != (w.lost == 0) {
			t.Errorf("window %d to %d: %d lost, clean %t, want %d", w.from, w.to, got.FramesLost, got.Clean(), w.lost)
		}
	}
	// A gap belongs to the window in which it ends.
	got := s.rec.Report(camera.FrameTime(1008), camera.FrameTime(1010)+lag)
	if got.LongestGapMS < 2*interval-1 || got.LongestGapAtMS != viewer.Milliseconds(lag) {
		t.Errorf("gap of %v ms at %v ms, want the one that began before the window", got.LongestGapMS, got.LongestGapAtMS)
	}
}

func TestFirstOfFindsTheFirstPacketOfAVersion(t *testing.T) {
	s := newScript()
	s.run("1.0", first, 1009)
	s.run("2.0", 1010, 1019)
	s.run("1.0", 1020, 1029)
	at, ok := s.rec.FirstOf("1.0", camera.FrameTime(1012))
	if want := camera.FrameTime(1020) + lag; !ok || at != want {
		t.Errorf("got %v %t, want %v", at, ok, want)
	}
	if at, ok := s.rec.FirstOf("2.0", camera.FrameTime(1025)); ok {
		t.Errorf("found version 2.0 at %v, after its end", at)
	}
	u, err := s.rec.WaitVersion(t.Context(), "2.0", 0)
	if err != nil || u.Stamp.Counter != 1010 {
		t.Errorf("got %v %v, want frame 1010", u.Stamp, err)
	}
}

func TestStreamWithoutStampsIsMeasuredForPackets(t *testing.T) {
	rec := viewer.NewRecorder()
	for i := range 30 {
		if i == 20 {
			continue
		}
		nalu := byte(0x41)
		if i%10 == 0 {
			nalu = 0x65
		}
		p := &rtp.Packet{Payload: []byte{nalu, 1, 2}}
		p.SequenceNumber, p.Timestamp, p.Marker = uint16(i), uint32(i*3000), true
		rec.Packet(camera.FrameTime(uint64(first+i)), p)
	}
	got := rec.Report(camera.FrameTime(first), camera.FrameTime(first+29))
	want := viewer.Report{Frames: 29, LongestGapMS: 2 * interval, SeqBreaks: 1}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1), cmpopts.IgnoreFields(viewer.Report{}, "LongestGapAtMS")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte{24, 0, 3, 0x67, 1, 2, 0})
	f.Add([]byte{28, 0x85})
	f.Add(camera.Stamp{Version: "1"}.SEI())
	f.Fuzz(func(_ *testing.T, payload []byte) {
		viewer.NewRecorder().Packet(0, &rtp.Packet{Payload: payload, Header: rtp.Header{Marker: true}})
	})
}

func TestFrameWithoutItsBeginningIsLostEvenWithoutStamps(t *testing.T) {
	rec := viewer.NewRecorder()
	for i, payload := range [][]byte{{0x65, 1}, {28, 0x45, 1}, {0x65, 1}} {
		p := &rtp.Packet{Payload: payload}
		p.SequenceNumber, p.Timestamp, p.Marker = []uint16{0, 2, 3}[i], uint32(i*3000), true
		rec.Packet(camera.FrameTime(uint64(first+i)), p)
	}
	if got := rec.Report(0, camera.FrameTime(first+3)).FramesLost; got != 1 {
		t.Errorf("%d frames lost, want the one whose first packet never came", got)
	}
}
