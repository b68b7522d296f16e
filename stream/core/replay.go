package core

// replayWindow remembers which of the newest packet indices have been seen
// (RFC 3711 §3.3.2). It is asked only about packets that are authentic.
type replayWindow struct {
	top  uint32 // the highest index seen
	seen uint64 // bit n: top−n was seen; 0: none was
}

// fresh reports whether an index is new, and remembers it. One that is older
// than the window is not.
func (w *replayWindow) fresh(index uint32) bool {
	switch {
	case w.seen == 0:
		w.top, w.seen = index, 1
	case index > w.top:
		w.seen = w.seen<<min(index-w.top, 64) | 1
		w.top = index
	case w.top-index >= 64 || w.seen>>(w.top-index)&1 != 0:
		return false
	default:
		w.seen |= 1 << (w.top - index)
	}
	return true
}

// maxSenders bounds the names under which one viewer may send.
const maxSenders = 8

// replayWindows has a window for each SSRC that a viewer sends under, because
// each counts its packets on its own (RFC 3711 §3.2.3).
type replayWindows struct {
	ssrcs   [maxSenders]uint32
	windows [maxSenders]replayWindow
	used    int32
}

func (r *replayWindows) fresh(ssrc, index uint32) bool {
	for i := range r.used {
		if r.ssrcs[i] == ssrc {
			return r.windows[i].fresh(index)
		}
	}
	if r.used == maxSenders {
		return false
	}
	r.ssrcs[r.used] = ssrc
	r.used++
	return r.windows[r.used-1].fresh(index)
}
