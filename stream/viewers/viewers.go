// Package viewers is the file of those who may watch a device: one NAME:SECRET a
// line, with comments behind "#".
//
// The gateway reads it, the technician's command edits it. A secret stands there
// as it is, because RTSP's digest cannot be judged without it; so a file that
// others may read is refused, and an edit replaces it as a whole: nobody reads
// half of one. It does not say what a viewer may watch: each may watch everything.
//
// Rejected: hashed secrets (they would leave RTSP with passwords in clear text);
// a secret of the user's own choice made here (people choose short ones, and one
// that is overheard in a digest can be guessed at leisure).
package viewers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Limits of a file.
const (
	MaxFile    = 64 << 10 // bytes
	MaxViewers = 500
	MaxName    = 64  // bytes
	MinSecret  = 8   // bytes; those that Add makes have 26
	MaxSecret  = 128 // bytes
)

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

var (
	// ErrOpen says that others may read the file, or change it.
	ErrOpen = errors.New("others may read or change it: chmod 600")
	// ErrKnown says that there is a viewer of that name.
	ErrKnown = errors.New("there is a viewer of that name; remove it first")
	// ErrUnknown says that there is no viewer of that name.
	ErrUnknown = errors.New("there is no viewer of that name")
)

// Viewer is one who may watch.
type Viewer struct{ Name, Secret string }

// Load reads a file. One that does not exist is an error of its own
// ([fs.ErrNotExist]).
func Load(path string) ([]Viewer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, _, err := readFile(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	all, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return all, nil
}

func readFile(f *os.File) ([]byte, fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("it is not a regular file")
	}
	if info.Mode().Perm()&0o027 != 0 { // a group may be given the right to read it
		return nil, nil, ErrOpen
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > MaxFile {
		return nil, nil, fmt.Errorf("it is larger than %d bytes", MaxFile)
	}
	return text, info, nil
}

// Parse reads the text of a file. Its errors begin with the line's number.
func Parse(text []byte) ([]Viewer, error) {
	var all []Viewer
	seen := map[string]bool{}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		v, ok, err := parseLine(string(line))
		if err == nil && seen[v.Name] {
			err = fmt.Errorf("a second viewer %q", v.Name)
		}
		if err == nil && len(all) == MaxViewers {
			err = fmt.Errorf("more than %d viewers", MaxViewers)
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", number, err)
		}
		if ok {
			all = append(all, v)
			seen[v.Name] = true
		}
	}
	return all, nil
}

// parseLine reports false for a line without a viewer. Its error does not repeat
// the line, which may hold a secret.
func parseLine(line string) (v Viewer, ok bool, err error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return Viewer{}, false, nil
	}
	name, secret, found := strings.Cut(line, ":")
	if !found {
		return Viewer{}, false, errors.New("it is not NAME:SECRET")
	}
	if err := CheckName(name); err != nil {
		return Viewer{}, false, err
	}
	if err := checkSecret(secret); err != nil {
		return Viewer{}, false, err
	}
	return Viewer{name, secret}, true, nil
}

// CheckName says what is wrong with a viewer's name.
func CheckName(name string) error {
	switch {
	case name == "" || len(name) > MaxName:
		return fmt.Errorf("a viewer's name has 1 to %d bytes", MaxName)
	case strings.Trim(name, nameBytes) != "":
		return errors.New("a viewer's name may hold letters, digits, dot, dash and underscore only")
	}
	return nil
}

// checkSecret wants what every client can send: no blank, and no colon, which
// would end the name in HTTP's basic credentials.
func checkSecret(secret string) error {
	switch {
	case len(secret) < MinSecret || len(secret) > MaxSecret:
		return fmt.Errorf("a secret has %d to %d bytes", MinSecret, MaxSecret)
	case strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' || r == '"' || r == '\\' }):
		return errors.New(`a secret may hold printable ASCII only, without blank, colon, quote and backslash`)
	}
	return nil
}
