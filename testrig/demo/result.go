package demo

import (
	"encoding/json"
	"os"
	"path/filepath"

	"slipstream/testrig/viewer"
)

// Result is build/demo.json.
type Result struct {
	Runs    int      `json:"runs"` // the last of so many runs, see [Run]
	Updates []Update `json:"updates"`
}

// Update is what became of one version. Times that mean nothing for an update
// are null: a good version has no fault to detect.
type Update struct {
	From          string   `json:"from"`
	To            string   `json:"to"`
	Outcome       string   `json:"outcome"`
	Reason        string   `json:"reason"`
	ViewersKept   int      `json:"viewers_kept"`
	ViewersLost   int      `json:"viewers_lost"`
	DetectMS      *float64 `json:"detect_ms"`       // from the fault to its detection
	SwitchMS      *float64 `json:"switch_ms"`       // from there to the old version's first packet on its way
	FirstPacketMS *float64 `json:"first_packet_ms"` // from the fault, or at a deadline its detection, to that packet at the last viewer
	ControlGapMS  float64  `json:"control_gap_ms"`
	Streams       []Stream `json:"streams"`
	Viewers       []Viewer `json:"viewers"`
	Carried       *Carried `json:"carried"` // the count that versions hand over

	stallMS float64 // the stall limit by the design's rule, from what viewers saw before
}

// Stream is the worst that any of a stream's viewers saw.
type Stream struct {
	Name            string  `json:"name"`
	LongestGapMS    float64 `json:"longest_gap_ms"`
	FramesLost      int     `json:"frames_lost"`
	SeqBreaks       int     `json:"seq_breaks"`
	TimestampBreaks int     `json:"timestamp_breaks"`
	ReplayedFrames  int     `json:"replayed_frames"`
	ContentJumpMS   float64 `json:"content_jump_ms"`
}

// Viewer is one viewer's own report.
type Viewer struct {
	Stream string `json:"stream"`
	Kind   string `json:"kind"`
	Kept   bool   `json:"kept"`
	Ended  string `json:"ended,omitempty"`
	viewer.Report
}

// worst adds a viewer to its stream's row.
func (s *Stream) worst(r viewer.Report) {
	s.LongestGapMS = max(s.LongestGapMS, r.LongestGapMS)
	s.FramesLost = max(s.FramesLost, r.FramesLost)
	s.SeqBreaks = max(s.SeqBreaks, r.SeqBreaks)
	s.TimestampBreaks = max(s.TimestampBreaks, r.TimestampBreaks)
	s.ReplayedFrames = max(s.ReplayedFrames, r.ReplayedFrames)
	s.ContentJumpMS = max(s.ContentJumpMS, r.ContentJumpMS)
}

// save writes the result whole or not at all.
func (r Result) save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
