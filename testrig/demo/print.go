package demo

import (
	"fmt"
	"io"
	"text/tabwriter"

	"slipstream/agent/control"
)

// show prints an update's proof for people.
func show(w io.Writer, st step, u Update, r control.Result, problems []string) {
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
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "   stream\tlongest gap\tcontrol's\tlost\tseq\ttime\treplayed\twent back\t")
	for _, s := range u.Streams {
		fmt.Fprintf(table, "   %s\t%.1f ms\t%.1f ms\t%d\t%d\t%d\t%d\t%.0f ms\t\n", s.Name, s.LongestGapMS, u.ControlGapMS,
			s.FramesLost, s.SeqBreaks, s.TimestampBreaks, s.ReplayedFrames, s.ContentJumpMS)
	}
	table.Flush()
	if len(problems) == 0 {
		fmt.Fprintln(w, "   as it has to be")
	}
	for _, p := range problems {
		fmt.Fprintf(w, "   NOT AS IT HAS TO BE: %s\n", p)
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
