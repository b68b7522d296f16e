package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

const (
	MaxFile    = 256 << 10 // bytes of one configuration file
	MaxDropIns = 64        // files beside the main one
)

// Load reads and checks a file and its drop-in files. Its errors name the file, and
// the line where there is one; all problems of one kind are reported together.
func Load(path string) (Config, error) {
	l, err := Read(path)
	return l.Config, err
}

// Loaded is a configuration, and where it comes from.
type Loaded struct {
	Config  Config
	Files   []string          // in the order in which they were read; a later one has the last word
	Sources map[string]string // by dotted key, the file that set it; what is not in it has its default
}

// LoadImage is [Load] for the image of many devices, which need not name one yet.
func LoadImage(path string) (Config, error) {
	c := Default()
	c.Device = "image"
	l, err := readOver(c, path)
	return l.Config, err
}

// Read is [Load], and says which file has set what.
func Read(path string) (Loaded, error) { return readOver(Default(), path) }

func readOver(base Config, path string) (Loaded, error) {
	l := Loaded{Config: base, Sources: map[string]string{}}
	dropIns, err := DropIns(path)
	if err != nil {
		return Loaded{}, fmt.Errorf("read the configuration: %w", err)
	}
	var problems []error
	for _, file := range append([]string{path}, dropIns...) {
		text, err := read(file)
		if err != nil {
			return Loaded{}, fmt.Errorf("read the configuration: %w", err)
		}
		problems = append(problems, l.add(file, text))
	}
	if err := errors.Join(problems...); err != nil {
		return Loaded{}, err
	}
	if err := l.Config.Validate(); err != nil {
		return Loaded{}, l.inFiles(path, err)
	}
	return l, nil
}

// DropIns are the files that are read after the one at path, in the order of their
// names: PATH.d/*.toml. There need be none.
func DropIns(path string) ([]string, error) {
	entries, err := os.ReadDir(path + ".d")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries { // sorted by name
		if filepath.Ext(e.Name()) == ".toml" && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(path+".d", e.Name()))
		}
	}
	if len(files) > MaxDropIns {
		return nil, fmt.Errorf("%s.d holds more than %d files", path, MaxDropIns)
	}
	return files, nil
}

// add takes a file's settings over those before it. A list is replaced as a whole.
func (l *Loaded) add(file string, text []byte) error {
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&l.Config); err != nil {
		return located(file, err)
	}
	var said map[string]any
	if err := toml.Unmarshal(text, &said); err != nil {
		return located(file, err)
	}
	l.Files = append(l.Files, file)
	l.note(file, "", said)
	return nil
}

func (l *Loaded) note(file, prefix string, said map[string]any) {
	for key, value := range said {
		if table, ok := value.(map[string]any); ok {
			l.note(file, prefix+key+".", table)
			continue
		}
		l.Sources[prefix+key] = file
	}
}

// inFiles puts before each problem the name of the file that set the key with which it
// begins, or of the main one, as located does.
func (l *Loaded) inFiles(main string, err error) error {
	var all []error
	for problem := range strings.SplitSeq(err.Error(), "\n") {
		key, _, _ := strings.Cut(problem, " ")
		file := cmp.Or(l.Sources[strings.TrimSuffix(key, ":")], main)
		all = append(all, fmt.Errorf("%s: %s", file, problem))
	}
	return errors.Join(all...)
}

// Setting is one key of a configuration.
type Setting struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	File  string `json:"file,omitempty"` // that set it; "": it is the default
}

// Settings are all keys there are, in the order of [Config].
func (l Loaded) Settings() []Setting { return l.settings("", reflect.ValueOf(l.Config)) }

func (l Loaded) settings(prefix string, v reflect.Value) (all []Setting) {
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("toml")
		if v.Field(i).Kind() == reflect.Struct {
			all = append(all, l.settings(key+".", v.Field(i))...)
			continue
		}
		all = append(all, Setting{Key: key, Value: v.Field(i).Interface(), File: l.Sources[key]})
	}
	return all
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, MaxFile)
	}
	return text, nil
}

// located turns the decoder's error into lines of "file:line: problem".
func located(path string, err error) error {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var all []error
		for _, e := range strict.Errors {
			all = append(all, at(path, e, fmt.Sprintf("unknown key %q", dotted(e.Key()))))
		}
		return errors.Join(all...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		return at(path, *e, e.Error())
	}
	return fmt.Errorf("%s: %w", path, err)
}

func at(path string, e toml.DecodeError, problem string) error {
	line, _ := e.Position()
	return fmt.Errorf("%s:%d: %s", path, line, problem)
}

func dotted(key toml.Key) string {
	var b bytes.Buffer
	for i, part := range key {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}
