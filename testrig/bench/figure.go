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
	Name           string  `json:"name"`
	Value          float64 `json:"value"`
	Unit           string  `json:"unit"`
	Reference      string  `json:"reference,omitempty"` // "": there is none
	ReferenceValue float64 `json:"reference_value"`
	Target         string  `json:"target,omitempty"`

	Samples          []float64 `json:"samples,omitempty"` // of which Value is the median, or as Name says
	ReferenceSamples []float64 `json:"reference_samples,omitempty"`
}

// ratio is the value's share of the reference, for people.
func (f Figure) ratio() string {
	if f.Reference == "" || f.ReferenceValue == 0 {
		return ""
	}
	return fmt.Sprintf("× %.3g", f.Value/f.ReferenceValue)
}

// Print shows figures as a table: ratios first, then values, references and targets.
func Print(w io.Writer, figures []Figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range figures {
		reference := ""
		if f.Reference != "" {
			reference = fmt.Sprintf("%s: %.2f %s", f.Reference, f.ReferenceValue, f.Unit)
		}
		target := ""
		if f.Target != "" {
			target = "target " + f.Target
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f %s\t%s\t%s\n", f.Name, f.ratio(), f.Value, f.Unit, reference, target)
	}
	return t.Flush()
}

// Write saves figures as a JSON array.
func Write(path string, figures []Figure) error {
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
