package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// Figure is one measured value beside the reference that it is judged by.
type Figure struct {
	Name           string   `json:"name"`
	Value          float64  `json:"value"`
	Unit           string   `json:"unit"`
	Reference      string   `json:"reference,omitempty"` // "": there is none
	ReferenceValue float64  `json:"reference_value"`
	Floor          *float64 `json:"floor,omitempty"` // what this machine takes without a server
	Targets        []Target `json:"targets,omitempty"`
	Verdict        string   `json:"verdict,omitempty"` // on the targets, filled in by [Write]

	Samples          []float64 `json:"samples,omitempty"` // of which Value is the median, or as Name says
	ReferenceSamples []float64 `json:"reference_samples,omitempty"`
	FloorSamples     []float64 `json:"floor_samples,omitempty"`
}

// ratio is the value's share of the reference, for people.
func (f Figure) ratio() string {
	if f.Reference == "" || f.ReferenceValue == 0 {
		return ""
	}
	return fmt.Sprintf("× %.3g", f.Value/f.ReferenceValue)
}

// Print shows figures as a table: ratios first, then values, floors, references and
// targets. Those that have a target follow once more, with the verdict.
func Print(w io.Writer, figures []Figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range figures {
		floor, reference, target := "", "", f.targets()
		if f.Floor != nil {
			floor = fmt.Sprintf("floor: %.2f %s", *f.Floor, f.Unit)
		}
		if f.Reference != "" {
			reference = fmt.Sprintf("%s: %.2f %s", f.Reference, f.ReferenceValue, f.Unit)
		}
		if target != "" {
			target = "target " + target
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f %s\t%s\t%s\t%s\n", f.Name, f.ratio(), f.Value, f.Unit, floor, reference, target)
	}
	fmt.Fprintln(t)
	for _, f := range figures {
		if v := f.verdict(); v != "" {
			fmt.Fprintf(t, "%s\t%s\t%.2f %s\t%s\n", v, f.Name, f.Value, f.Unit, f.targets())
		}
	}
	return t.Flush()
}

// Write saves figures, with the verdicts on them, as a JSON array.
func Write(path string, figures []Figure) error {
	for i := range figures {
		figures[i].Verdict = figures[i].verdict()
	}
	body, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644)
}

// percentile is the p-th percentile of samples by nearest rank, in milliseconds.
func percentile(samples []time.Duration, p float64) float64 {
	ms := make([]float64, len(samples))
	for i, d := range samples {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	return rank(ms, p)
}

// rank is the p-th percentile of samples by nearest rank.
func rank(samples []float64, p float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(samples))
	return s[min(int(p/100*float64(len(s))), len(s)-1)]
}

func median(samples []float64) float64 { return rank(samples, 50) }

func highest(samples []float64) float64 { return rank(samples, 100) }
