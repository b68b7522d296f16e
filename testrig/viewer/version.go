package viewer

import "time"

// VersionReport is what a viewer got of one version, however bad others were, and
// of the stream as a whole.
type VersionReport struct {
	Frames   int // of the version
	Broken   int // of them: not whole, or their reference did not come right before
	Backward int // frames of any version whose RTP time does not follow the one before
	Faults   int // packets of any version missing, late or twice
}

// Version judges the frames of one version that were whole in [from, to]. Other
// versions may be anything.
func (r *Recorder) Version(version string, from, to time.Duration) (rep VersionReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.faults {
		if f.at >= from && f.at <= to {
			rep.Faults++
		}
	}
	before := Unit{}
	for i, u := range r.units {
		if u.Last >= from && u.Last <= to {
			if u.tsBack {
				rep.Backward++
			}
			if u.Stamp.Version == version {
				follows := before.complete && before.Stamp.Version == version && before.Stamp.Counter+1 == u.Stamp.Counter
				rep.Frames++
				if !u.complete || !u.IDR && !follows && i > 0 {
					rep.Broken++
				}
			}
		}
		before = u
	}
	return rep
}
