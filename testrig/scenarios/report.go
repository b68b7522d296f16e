package scenarios

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

//go:embed report.html
var reportText string

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"picture": func(jpeg []byte) template.URL {
		return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(jpeg))
	},
	"seconds": func(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) },
	"ms":      func(ms float64) string { return fmt.Sprintf("%.0f ms", ms) },
	"join":    func(words []string) string { return strings.Join(words, " → ") },
	"anchor":  func(r Result) string { return r.Arch + "-" + r.Scenario },
}).Parse(reportText))

// summary is what a report begins with.
type summary struct {
	Package        string
	Time           time.Time
	Passed, Failed int
	Results        []Result
}

// WantsPictures says whether a report has them: one for people, a page that opens by
// itself, has; one for machines, JSON, has what was said and measured.
func WantsPictures(file string) bool { return filepath.Ext(file) == ".html" }

// Save writes a report, whole or not at all.
func Save(file string, opts Options, results []Result) (err error) {
	write := writeJSON
	if WantsPictures(file) {
		write = writePage
	}
	out, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(write(out, opts, results), out.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("write the report: %w", err), os.Remove(out.Name()))
	}
	return os.Rename(out.Name(), file)
}

func writePage(to io.Writer, opts Options, results []Result) error {
	s := summary{Package: filepath.Base(opts.Package), Time: time.Now(), Results: results}
	if opts.Package == "" {
		s.Package = ""
	}
	for _, r := range results {
		if r.Passed {
			s.Passed++
		} else {
			s.Failed++
		}
	}
	return reportPage.Execute(to, s)
}

func writeJSON(to io.Writer, _ Options, results []Result) error {
	enc := json.NewEncoder(to)
	enc.SetIndent("", "  ")
	return enc.Encode(results)
}
