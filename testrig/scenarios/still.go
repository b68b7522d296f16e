package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"slipstream/agent/control"
)

// Still is a picture that a viewer outside got.
type Still struct {
	Caption string `json:"caption"`
	JPEG    []byte `json:"jpeg,omitempty"`
	Error   string `json:"error,omitempty"` // why there is no picture
}

// End is how the trial of a version ended, by the device's history.
type End struct {
	Version  string   `json:"version"`
	Outcome  string   `json:"outcome"`
	Reason   string   `json:"reason,omitempty"`
	Detail   string   `json:"detail,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
	// RevertMS is from the detection of a fault to the first packet of the version before;
	// 0 if the forwarder measured none.
	RevertMS float64 `json:"revert_ms,omitempty"`
	Reboots  int     `json:"reboots,omitempty"`
	DarkMS   int64   `json:"dark_ms,omitempty"` // without pictures, for the reboots
}

func endOf(r *control.Record) End {
	e := End{
		Version: r.To, Outcome: r.Outcome, Reason: r.Reason, Detail: r.Detail, Evidence: r.Evidence,
		Reboots: r.Reboots, DarkMS: r.DarkMS,
	}
	if r.Proof != nil {
		e.RevertMS = r.Proof.DetectToFirstMS
	}
	return e
}

// takeStills keeps the next picture of every viewer.
func (w *world) takeStills(caption string) {
	for _, s := range w.viewers {
		s.film.take(caption)
	}
}

// decodeLimit bounds the decoding of one picture on a machine that is busy.
const decodeLimit = time.Minute

// stills decodes what a film has kept.
func (w *world) stills(f *film) (stills []Still) {
	for _, s := range f.reel() {
		jpeg, err := lastPicture(w.ctx, s.stream)
		still := Still{Caption: s.caption, JPEG: jpeg}
		if err != nil {
			still.Error = err.Error()
		}
		stills = append(stills, still)
	}
	return stills
}

const decoder = "ffmpeg"

// needDecoder says what pictures need.
func needDecoder() error {
	if _, err := exec.LookPath(decoder); err != nil {
		return fmt.Errorf("the report's pictures need %s: please install that Debian package", decoder)
	}
	return nil
}

// lastPicture decodes a piece of H.264 and makes a JPEG of its last picture.
func lastPicture(ctx context.Context, stream []byte) (jpeg []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, decodeLimit)
	defer cancel()
	dir, err := os.MkdirTemp("", "slip-still-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "still.jpg")
	cmd := exec.CommandContext(ctx, decoder, "-nostdin", "-v", "error", "-f", "h264", "-i", "pipe:0",
		"-fps_mode", "passthrough", "-update", "1", "-q:v", "4", file)
	cmd.Stdin = bytes.NewReader(stream)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", decoder, err, bytes.TrimSpace(out))
	}
	return os.ReadFile(file)
}
