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
	Reference      string  `json:"reference"`
	ReferenceValue float64 `json:"reference_value"`
}

// Print shows figures as a table.
func Print(w io.Writer, figures []Figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range figures {
		fmt.Fprintf(t, "%s\t%.2f %s\t%s\t%.2f %s\n", f.Name, f.Value, f.Unit, f.Reference, f.ReferenceValue, f.Unit)
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
	s := slices.Sorted(slices.Values(samples))
	i := min(int(p/100*float64(len(s))), len(s)-1)
	return float64(s[i]) / float64(time.Millisecond)
}
