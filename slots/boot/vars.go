package boot

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// vars is a list of variables as it is stored. What is not set here is kept as
// it is, byte for byte and in its place: also lines without "=" and names that
// occur twice.
type vars struct{ lines []string }

// parseVars reads "name=value" lines that each end with a zero byte; an empty
// line ends them, and what follows is of no meaning.
func parseVars(data []byte) (*vars, error) {
	v := new(vars)
	for {
		line, rest, ended := bytes.Cut(data, []byte{0})
		if !ended {
			return nil, errors.New("the list of variables does not end")
		}
		if len(line) == 0 {
			return v, nil
		}
		v.lines = append(v.lines, string(line))
		data = rest
	}
}

// encode returns the list and the empty line after it, filled up with zeros.
func (v *vars) encode(size int) ([]byte, error) {
	data := make([]byte, 0, size)
	for _, line := range v.lines {
		data = append(append(data, line...), 0)
	}
	// Without any variable U-Boot wants to see two zeros.
	if len(data)+1 > size || size < 2 {
		return nil, fmt.Errorf("the variables need %d bytes and there is room for %d: remove some, or enlarge it in the boot loader too", len(data)+1, size)
	}
	return data[:size], nil
}

func (v *vars) clone() *vars { return &vars{slices.Clone(v.lines)} }

func (v *vars) equal(w *vars) bool { return slices.Equal(v.lines, w.lines) }

// get returns the value that holds: a name's last.
func (v *vars) get(name string) string {
	for _, line := range slices.Backward(v.lines) {
		if key, value, ok := strings.Cut(line, "="); ok && key == name {
			return value
		}
	}
	return ""
}

// set gives a variable one value in the place where it is, or at the end. An
// empty value removes it, as in U-Boot.
func (v *vars) set(name, value string) {
	at := slices.IndexFunc(v.lines, func(line string) bool { return strings.HasPrefix(line, name+"=") })
	lines := slices.DeleteFunc(slices.Clone(v.lines), func(line string) bool { return strings.HasPrefix(line, name+"=") })
	if value != "" {
		if at < 0 {
			at = len(lines)
		}
		lines = slices.Insert(lines, at, name+"="+value)
	}
	v.lines = lines
}

// store keeps variables.
type store interface {
	lock() (unlock func(), err error)
	// load returns the newest copy that is whole, or ErrNoState.
	load() (*vars, error)
	// save replaces the older copy, syncs it and reads it back.
	save(vars *vars) error
	// initial is what a lost state is made anew from.
	initial() (*vars, error)
}

// dialect is the words that a boot loader's script reads and writes.
type dialect interface {
	decode(vars *vars) view
	encode(v view, vars *vars)
}

// worded is the backend of all that keep variables.
type worded struct {
	store
	dialect dialect
}

var _ backend = worded{}

func (w worded) read() (view, error) {
	list, err := w.load()
	if err != nil {
		return view{}, err
	}
	return w.dialect.decode(list), nil
}

func (w worded) write(v view) error {
	before, err := w.load()
	if err != nil {
		return err
	}
	after := before.clone()
	w.dialect.encode(v, after)
	if after.equal(before) {
		return nil
	}
	return w.save(after)
}

func (w worded) make(v view) error {
	list, err := w.initial()
	if err != nil {
		return err
	}
	w.dialect.encode(v, list)
	return w.save(list)
}
