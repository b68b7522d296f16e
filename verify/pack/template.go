package pack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"slipstream/verify"
)

// maxTemplate bounds a manifest template in bytes.
const maxTemplate = 256 << 10

// Defaults of a template, for what it leaves out.
const (
	defaultImage         = "app.tree"
	defaultStartTimeout  = 10_000
	defaultDeadline      = 60_000
	defaultSoak          = 2_000
	defaultStopTimeout   = 3_000
	defaultRestartMax    = 3
	defaultRestartWindow = 60_000
)

// LoadTemplate reads a manifest template: JSON with the fields of
// [verify.Manifest], of which images are always computed and most others have a
// default. An unknown field is an error.
func LoadTemplate(path string) (verify.Manifest, error) {
	data, err := readFile(path, "manifest template", maxTemplate)
	if err != nil {
		return verify.Manifest{}, err
	}
	var m verify.Manifest
	if err := DecodeJSON("manifest template "+path, data, &m); err != nil {
		return verify.Manifest{}, err
	}
	if len(m.Images) > 0 {
		return verify.Manifest{}, fmt.Errorf("manifest template %s: images are computed from what is packed, leave them out", path)
	}
	return m, nil
}

// DecodeJSON reads a file that a person wrote, and says on which line it is wrong.
func DecodeJSON(what string, data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%s%s: %s", what, faultLine(data, err), faultWords(err))
	}
	if dec.More() {
		return fmt.Errorf("%s: text after the closing brace", what)
	}
	return nil
}

// withDefaults completes a template. It copies what it changes.
func withDefaults(m verify.Manifest) (verify.Manifest, error) {
	if m.Format == 0 {
		m.Format = verify.Format
	}
	if m.IssuedAt.IsZero() {
		var err error
		if m.IssuedAt, err = issueTime(); err != nil {
			return m, err
		}
	}
	m.IssuedAt = m.IssuedAt.UTC().Truncate(time.Second)
	m.Expires = m.Expires.UTC().Truncate(time.Second)
	if m.App != nil {
		app := appDefaults(*m.App)
		m.App = &app
	}
	return m, nil
}

func appDefaults(a verify.App) verify.App {
	setDefault(&a.Overlap, verify.OverlapFull)
	setDefault(&a.Greenlight, verify.GreenlightApp)
	setDefault(&a.DeadlineMS, defaultDeadline)
	setDefault(&a.StartTimeoutMS, min(defaultStartTimeout, a.DeadlineMS))
	a.Streams = streamDefaults(a.Streams)
	setDefault(&a.SoakMS, min(max(defaultSoak, longestWindow(a.Streams)), a.DeadlineMS/2))
	setDefault(&a.StopTimeoutMS, defaultStopTimeout)
	if a.RestartMax == 0 && a.RestartWindow == 0 { // a window alone says: never restart
		a.RestartMax = defaultRestartMax
	}
	setDefault(&a.RestartWindow, defaultRestartWindow)
	return a
}

func streamDefaults(streams []verify.Stream) []verify.Stream {
	out := make([]verify.Stream, 0, max(1, len(streams)))
	for _, s := range streams {
		setDefault(&s.Codec, verify.CodecH264)
		s.Invariants = slices.Clone(s.Invariants)
		for n := range s.Invariants {
			setDefault(&s.Invariants[n].WindowMS, verify.DefaultWindow.Milliseconds())
			setDefault(&s.Invariants[n].Severity, verify.SeverityRequired)
		}
		out = append(out, s)
	}
	return out
}

// longestWindow is the least soak after which all that may revert was judged.
func longestWindow(streams []verify.Stream) (longest int64) {
	for _, s := range streams {
		for _, i := range s.Invariants {
			if i.Required() {
				longest = max(longest, i.Window().Milliseconds())
			}
		}
	}
	return longest
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// issueTime is SOURCE_DATE_EPOCH, by which reproducible builds give their time
// (reproducible-builds.org), else now.
func issueTime() (time.Time, error) {
	text, ok := os.LookupEnv("SOURCE_DATE_EPOCH")
	if !ok {
		return time.Now(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q, not seconds since 1970", text)
	}
	return time.Unix(seconds, 0), nil
}
