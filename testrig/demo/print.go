package demo

import (
	"fmt"
	"io"
	"text/tabwriter"

	"slipstream/agent/control"
)

// show prints an update's proof for people.
func show(w io.Writer, st step, u Update, r control.Result, wrong problems) {
	fmt.Fprintf(w, "\n── version %s %s\n", st.version, st.what)
	outcome := u.Outcome
	if u.Reason != "" {
		outcome += " (" + u.Reason + ")"
	}
	fmt.Fprintf(w, "   %s → %s: %s; viewers: %d kept, %d lost\n", u.From, u.To, outcome, u.ViewersKept, u.ViewersLost)
	if r.Message != "" {
		fmt.Fprintf(w, "   the device says: %s\n", r.Message)
	}
	if line := revertLine(u); line != "" {
		fmt.Fprintf(w, "   %s\n", line)
	}
	if line := carriedLine(u); line != "" {
		fmt.Fprintf(w, "   %s\n", line)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "   stream\tlongest gap\tcontrol's\tlost\tseq\ttime\treplayed\twent back\tnot shown\t")
	for _, s := range u.Streams {
		fmt.Fprintf(table, "   %s\t%.1f ms\t%.1f ms\t%d\t%d\t%d\t%d\t%.0f ms\t%d\t\n", s.Name, s.LongestGapMS, u.ControlGapMS,
			s.FramesLost, s.SeqBreaks, s.TimestampBreaks, s.ReplayedFrames, s.ContentJumpMS, u.skipped(s.Name))
	}
	table.Flush()
	if len(wrong) == 0 {
		fmt.Fprintln(w, "   as it has to be")
	}
	for _, p := range wrong {
		fmt.Fprintf(w, "   NOT AS IT HAS TO BE: %s\n", p.text)
	}
}

func revertLine(u Update) string {
	if u.SwitchMS == nil || u.FirstPacketMS == nil {
		return ""
	}
	if u.DetectMS == nil {
		return fmt.Sprintf("from the decision: old version sent after %.2f ms, at the last viewer after %.2f ms", *u.SwitchMS, *u.FirstPacketMS)
	}
	return fmt.Sprintf("from the fault: noticed after %.2f ms, old version sent %.2f ms later, at the last viewer after %.2f ms in all",
		*u.DetectMS, *u.SwitchMS, *u.FirstPacketMS)
}

// skipped is how many scenes no version showed to a stream's viewers.
func (u Update) skipped(stream string) (most int) {
	for _, v := range u.Viewers {
		if v.Stream == stream {
			most = max(most, v.SkippedFrames)
		}
	}
	return most
}
