package viewer

import "time"

// verdict is what one access unit did to the viewer.
type verdict struct {
	lost     int           // frames missing before it, and itself if it cannot be decoded
	skipped  int           // scenes that no version showed, at a change of version
	replayed bool          // its scene, or a later one, was shown before
	jump     time.Duration // how far the picture went back in time
	tsBack   bool          // its RTP time does not follow the one before
}

// judge follows the chain of references through a stream.
type judge struct {
	started bool // a key frame has come: from here on everything counts
	broken  bool // the reference is missing: nothing can be decoded until a key frame
	version string
	counter uint64 // of the frame before
	time    int64

	newest   uint64 // highest counter shown
	captured time.Duration
}

func (j *judge) unit(u Unit, stamped bool) (v verdict) {
	if !j.started && !(u.complete && u.IDR) {
		return v // joined in the middle: nothing could be shown yet
	}
	if !stamped {
		u.Stamp.Version, u.Stamp.Counter = j.version, j.counter+1
	}
	if !j.started {
		j.started, j.version, j.counter, j.time = true, u.Stamp.Version, u.Stamp.Counter-1, u.time-1
		j.newest, j.captured = j.counter, u.Stamp.Captured
	}
	v.tsBack = u.time <= j.time
	j.time = u.time
	if !u.complete {
		v.lost = 1
		j.broken = true
		j.version, j.counter = u.Stamp.Version, u.Stamp.Counter
		return v
	}
	j.chain(u, &v)
	j.show(u, &v)
	return v
}

// chain counts what is missing between the frame before and this one.
func (j *judge) chain(u Unit, v *verdict) {
	s := u.Stamp
	follows := s.Version == j.version && s.Counter == j.counter+1
	if s.Version == j.version && s.Counter > j.counter+1 {
		v.lost += int(s.Counter - j.counter - 1)
	}
	if s.Version != j.version && s.Counter > j.newest+1 {
		v.skipped = int(s.Counter - j.newest - 1)
	}
	switch {
	case u.IDR:
		j.broken = false
	case !follows:
		j.broken = true
	}
	if j.broken {
		v.lost++
	}
	j.version, j.counter = s.Version, s.Counter
}

// show compares the scene with the newest one shown.
func (j *judge) show(u Unit, v *verdict) {
	if u.Stamp.Counter > j.newest {
		j.newest = u.Stamp.Counter
		j.captured = max(j.captured, u.Stamp.Captured)
		return
	}
	v.replayed = true
	v.jump = max(0, j.captured-u.Stamp.Captured)
}
