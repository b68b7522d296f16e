package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"slipstream/adminpanel/small"
)

const (
	// MaxFile bounds the file.
	MaxFile = 256 << 10
	// EnvPrefix is what the variables begin with.
	EnvPrefix = "SLIPSTREAM_PANEL_"
)

// Load reads a file, if a path is given, and then variables out of environ (as of
// [os.Environ]), and checks what they give.
func Load(path string, environ []string) (Config, error) {
	c := Default()
	var problems []error
	if path != "" {
		text, err := small.File(path, MaxFile)
		if err != nil {
			return Config{}, fmt.Errorf("read the configuration: %w", err)
		}
		problems = append(problems, decode(&c, path, text))
	}
	problems = append(problems, c.environment(environ))
	if err := errors.Join(problems...); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, inFile(path, err)
	}
	return c, nil
}

func inFile(path string, err error) error {
	if path == "" {
		return err
	}
	var all []error
	for problem := range strings.SplitSeq(err.Error(), "\n") {
		all = append(all, fmt.Errorf("%s: %s", path, problem))
	}
	return errors.Join(all...)
}

// decode turns the decoder's errors into lines of "file:line: problem".
func decode(c *Config, path string, text []byte) error {
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(c)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var all []error
		for _, e := range strict.Errors {
			line, _ := e.Position()
			all = append(all, fmt.Errorf("%s:%d: unknown key %q", path, line, strings.Join(e.Key(), ".")))
		}
		return errors.Join(all...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		return fmt.Errorf("%s:%d: %w", path, line, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// environment takes variables over what there is.
func (c *Config) environment(environ []string) error {
	known := map[string]reflect.Value{}
	variables("", reflect.ValueOf(c).Elem(), known)
	var problems []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		key, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours {
			continue
		}
		field, ok := known[key]
		if !ok {
			problems = append(problems, fmt.Errorf("the environment's %s is no setting of the panel", name))
			continue
		}
		if err := set(field, value); err != nil {
			problems = append(problems, fmt.Errorf("the environment's %s: %w", name, err))
		}
	}
	return errors.Join(problems...)
}

// variables finds the field of each variable.
func variables(prefix string, v reflect.Value, known map[string]reflect.Value) {
	for i := range v.NumField() {
		name := prefix + strings.ToUpper(v.Type().Field(i).Tag.Get("toml"))
		if v.Field(i).Kind() == reflect.Struct {
			variables(name+"_", v.Field(i), known)
			continue
		}
		known[name] = v.Field(i)
	}
}

func set(field reflect.Value, value string) error {
	switch field.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		field.SetBool(b)
	case reflect.Slice:
		field.Set(reflect.ValueOf(list(value)))
	case reflect.Map:
		pairs := map[string]string{}
		for _, pair := range list(value) {
			k, v, ok := strings.Cut(pair, "=")
			if !ok {
				return fmt.Errorf("%q is no name=value", pair)
			}
			pairs[k] = v
		}
		field.Set(reflect.ValueOf(pairs))
	default:
		field.SetString(value)
	}
	return nil
}

func list(value string) (items []string) {
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
