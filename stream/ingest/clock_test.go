package ingest

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// scene is one publisher with a picture and a sound, whose packets arrive late.
type scene struct {
	session      sessionClock
	video, audio mediumClock
	wall         time.Duration // its wall clock when CLOCK_MONOTONIC is 0
	began        time.Duration // what its reports call the beginning, after the true one
}

func newScene(wall, began time.Duration) *scene {
	return &scene{video: mediumClock{rate: 90_000}, audio: mediumClock{rate: 48_000}, wall: wall, began: began}
}

func (s *scene) report(m *mediumClock, at time.Duration) {
	m.report(s.wall+at, uint32(int64(at-s.began)*int64(m.rate)/int64(time.Second)))
	s.session.begin(m, at+1_700_000_000*time.Second, at)
}

// capture is what comes out for a frame of that instant, which arrives later.
func (s *scene) capture(m *mediumClock, at, delay time.Duration) time.Duration {
	return s.session.captured(m, uint32(int64(at)*int64(m.rate)/int64(time.Second)), at+delay)
}

// Sound and picture of one publisher stay in step on one capture clock, wherever
// its reports say that it began, whatever its wall clock shows and is set to, and
// however late and unsteady its packets are.
func TestSoundAndPictureStayInStep(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ms := func(name string, from, to int) time.Duration {
			return time.Duration(rapid.IntRange(from, to).Draw(t, name)) * time.Millisecond
		}
		s := newScene(ms("wall", 0, 1<<30), ms("began", -2000, 2000))
		s.report(&s.video, time.Hour)
		s.report(&s.audio, time.Hour)
		latency := ms("latency", 0, 1000)
		for i := range 600 {
			at := time.Hour + time.Duration(i)*40*time.Millisecond
			switch i % 50 {
			case 10:
				s.wall += ms("step", 200, 5_000_000) * time.Duration(rapid.IntRange(-1, 1).Draw(t, "direction"))
			case 20:
				s.report(&s.video, at)
			case 40:
				s.report(&s.audio, at)
			}
			s.capture(&s.video, at, latency+ms("jitter", 0, 50))
			s.capture(&s.audio, at, latency+ms("jitter", 0, 50))
			video, audio := s.video.at(uint32(at*9/100_000)), s.audio.at(uint32(at*48/1_000_000))
			if off := audio - video; off < -time.Millisecond || off > time.Millisecond {
				t.Fatalf("frame %d: sound is %v from the picture", i, off)
			}
		}
	})
}

// The true time of capture is kept where the reports know it, and otherwise no
// frame is captured after it arrives.
func TestCaptureTime(t *testing.T) {
	t.Parallel()
	const wall = 1_700_000_000 * time.Second
	for _, c := range []struct {
		name          string
		wall, began   time.Duration
		latency, want time.Duration // of capture before arrival
	}{
		{"the reports are right", wall, 0, 700 * time.Millisecond, 700 * time.Millisecond},
		{"they count from too late", wall, 300 * time.Millisecond, 100 * time.Millisecond, 0},
		{"they count from too early", wall, -300 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond},
		{"another wall clock", 5 * time.Hour, 0, 700 * time.Millisecond, 0},
	} {
		s := newScene(c.wall, c.began)
		s.report(&s.video, time.Hour)
		for i := range 3000 {
			at := time.Hour + time.Duration(i)*33*time.Millisecond
			got := at + c.latency - s.capture(&s.video, at, c.latency)
			if off := got - c.want; off < -time.Millisecond || off > time.Millisecond {
				t.Fatalf("%s: frame %d arrives %v after its capture, want %v", c.name, i, got, c.want)
			}
		}
	}
}

// A publisher whose first report comes late has been given times by arrival until
// then. They go on, and only the media's distance is put right.
func TestLateReports(t *testing.T) {
	t.Parallel()
	s := newScene(1_700_000_000*time.Second, 0)
	const late, later = 1900 * time.Millisecond, 1950 * time.Millisecond
	rtp := func(m *mediumClock, at time.Duration) uint32 {
		return uint32(int64(at) * int64(m.rate) / int64(time.Second))
	}
	for i := range 50 {
		at := time.Hour + time.Duration(i)*40*time.Millisecond
		s.video.before(rtp(&s.video, at), at+late+time.Duration(i%3)*10*time.Millisecond)
		s.audio.before(rtp(&s.audio, at), at+later)
	}
	now := time.Hour + 2*time.Second
	s.report(&s.video, now)
	s.report(&s.audio, now)
	for _, m := range []*mediumClock{&s.video, &s.audio} {
		got := s.session.captured(m, rtp(m, now), now+later) - now
		if off := got - late; off < -time.Millisecond || off > time.Millisecond {
			t.Errorf("%d Hz: captured %v after it was, want %v", m.rate, got, late)
		}
	}
}

// A medium whose clock runs off by 200 ppm does not end up minutes away.
func TestCaptureFollowsDrift(t *testing.T) {
	t.Parallel()
	for _, ppm := range []int64{-200, 200} {
		s := newScene(1_700_000_000*time.Second, 0)
		s.report(&s.video, time.Hour)
		for i := range int64(10 * 3600 * 5) {
			at := time.Hour + time.Duration(i)*200*time.Millisecond
			slow := time.Hour + (at-time.Hour)*time.Duration(1_000_000-ppm)/1_000_000
			const latency = 100 * time.Millisecond
			got := s.session.captured(&s.video, uint32(int64(slow)*9/100_000), at+latency)
			if off := at + latency - got; off < 0 || off > 200*time.Millisecond {
				t.Fatalf("%d ppm: after %v a frame seems captured %v before it arrives", ppm, at-time.Hour, off)
			}
		}
	}
}

func FuzzClock(f *testing.F) {
	f.Add(uint64(0xe9f0_0000_8000_0000), uint32(90), uint32(1<<31), int64(time.Hour))
	f.Fuzz(func(t *testing.T, ntp uint64, rtp, ts uint32, now int64) {
		if now < 0 || now > int64(100*365*24*time.Hour) {
			return
		}
		var s sessionClock
		m := mediumClock{rate: 8000}
		for range 2 {
			m.report(wallTime(ntp), rtp)
			s.begin(&m, time.Duration(now)/2, time.Duration(now))
			if got := s.captured(&m, ts, time.Duration(now)); got > time.Duration(now) || time.Duration(now)-got > maxDelay {
				t.Fatalf("captured at %v, arrives at %v", got, time.Duration(now))
			}
			ntp, rtp = ntp*3, rtp*5
		}
	})
}
