package gateway

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	// maxFragment bounds a fragment in bytes, and maxFragmentLines in lines.
	maxFragment      = 16 << 10
	maxFragmentLines = 256
)

// fragment is what a viewer tells of its ICE session (RFC 8840 §9). Its candidates
// are checked and forgotten: the lite side calls on none.
type fragment struct {
	ufrag, pwd string
	group      string // "": none
	media      string // kind and protocol of its first section; "": it has none
	mid        string
}

// Forms of what is said back to the viewer, and of what ICE has (RFC 8839 §5).
var (
	groupForm = regexp.MustCompile(`^BUNDLE( [A-Za-z0-9._-]{1,16}){1,8}$`)
	mediaForm = regexp.MustCompile(`^(audio|video) [0-9]{1,5} [A-Z/]{1,24}( [A-Za-z0-9]{1,8}){0,64}$`)
	midForm   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,16}$`)
	ufragForm = regexp.MustCompile(`^[A-Za-z0-9+/]{4,256}$`)
	pwdForm   = regexp.MustCompile(`^[A-Za-z0-9+/]{22,256}$`)
	hostForm  = regexp.MustCompile(`^[A-Za-z0-9.:_-]{1,255}$`)
)

var errTwoSessions = errors.New("the fragment has two ICE sessions; all sections share one")

// parseFragment reads a fragment whole.
func parseFragment(text []byte) (fragment, error) {
	var f fragment
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	if len(lines) > maxFragmentLines {
		return f, fmt.Errorf("the fragment has more than %d lines", maxFragmentLines)
	}
	for i, line := range lines {
		if line == "" {
			continue
		}
		if err := f.take(line); err != nil {
			return fragment{}, fmt.Errorf("line %d of the fragment: %w", i+1, err)
		}
	}
	if f.ufrag == "" || f.pwd == "" {
		return fragment{}, errors.New("the fragment has no ice-ufrag and ice-pwd")
	}
	return f, nil
}

func (f *fragment) take(line string) error {
	if section, ok := strings.CutPrefix(line, "m="); ok {
		if !mediaForm.MatchString(section) {
			return errors.New("no section of audio or video")
		}
		if f.media == "" {
			f.media = section
		}
		return nil
	}
	attribute, ok := strings.CutPrefix(line, "a=")
	if !ok {
		return errors.New("neither a section nor an attribute")
	}
	key, value, _ := strings.Cut(attribute, ":")
	switch key {
	case "ice-ufrag":
		return once(&f.ufrag, value, ufragForm)
	case "ice-pwd":
		return once(&f.pwd, value, pwdForm)
	case "group":
		return once(&f.group, value, groupForm)
	case "mid":
		if !midForm.MatchString(value) {
			return errors.New("malformed mid")
		}
		if f.mid == "" {
			f.mid = value
		}
	case "candidate":
		return checkCandidate(value)
	}
	return nil
}

// once sets what may be repeated, but not differ.
func once(to *string, value string, form *regexp.Regexp) error {
	if !form.MatchString(value) {
		return errors.New("malformed value")
	}
	if *to != "" && *to != value {
		return errTwoSessions
	}
	*to = value
	return nil
}

// checkCandidate reads a candidate (RFC 8839 §5.1): foundation, component,
// transport, priority, address, port, "typ", type.
func checkCandidate(value string) error {
	part := strings.Fields(value)
	if len(part) < 8 || part[6] != "typ" || !hostForm.MatchString(part[4]) {
		return errors.New("malformed candidate")
	}
	_, component := strconv.ParseUint(part[1], 10, 16)
	_, priority := strconv.ParseUint(part[3], 10, 32)
	_, port := strconv.ParseUint(part[5], 10, 16)
	if err := errors.Join(component, priority, port); err != nil {
		return errors.New("malformed candidate")
	}
	return nil
}

// answer is what the viewer is told of the new session: it is the same section, with
// our credentials and candidates.
func (f fragment) answer(ours credentials, candidates []string) string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			b.WriteString(key + value + "\r\n")
		}
	}
	line("a=", "ice-lite")
	line("a=group:", f.group)
	line("m=", f.media)
	line("a=mid:", f.mid)
	line("a=ice-ufrag:", ours.ufrag)
	line("a=ice-pwd:", ours.pwd)
	for _, c := range candidates {
		line("a=candidate:", c)
	}
	line("a=", "end-of-candidates")
	return b.String()
}
