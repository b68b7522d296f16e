package scenarios

import (
	"context"
	"fmt"
	"strings"
)

// stayed says of viewers that their sessions have stood and that pictures come, without a
// break that a receiver could notice.
func (w *world) stayed(ctx context.Context, args []string) (string, error) {
	seats, err := w.seats(args)
	if err != nil {
		return "", err
	}
	var said strings.Builder
	for _, s := range seats {
		if _, err := s.picture(ctx); err != nil {
			return said.String(), fmt.Errorf("viewer %s: %w (%s)", s.name, err, s.Ended())
		}
		r := s.look()
		fmt.Fprintf(&said, "%s (%s): %d frames, %d not taken, session kept=%v, longest gap %.0f ms, versions %v\n",
			s.name, s.Kind, r.Frames, r.FramesLost, s.Alive(), r.LongestGapMS, r.Versions)
		if r.SeqBreaks != 0 || r.Duplicates != 0 || !s.Alive() {
			return said.String(), fmt.Errorf("viewer %s: %d breaks of the sequence, %d packets came twice; its session: %q",
				s.name, r.SeqBreaks, r.Duplicates, s.Ended())
		}
	}
	return said.String(), nil
}
