package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// MaxFile bounds the configuration file in bytes.
const MaxFile = 256 << 10

// Load reads and checks a file. Its errors name the file, and the line where
// there is one; all problems of one kind are reported together.
func Load(path string) (Config, error) {
	text, err := read(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c := Default()
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&c); err != nil {
		return Config{}, located(path, err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, inFile(path, err)
	}
	return c, nil
}

// inFile puts the file's name before each problem, as located does.
func inFile(path string, err error) error {
	var all []error
	for problem := range strings.SplitSeq(err.Error(), "\n") {
		all = append(all, fmt.Errorf("%s: %s", path, problem))
	}
	return errors.Join(all...)
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
