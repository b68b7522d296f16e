package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decodeStrict decodes a signed or signing document into a struct, and refuses
// whatever two JSON readers could understand in two ways. encoding/json alone
// takes the last of duplicate names, matches names in any case, repairs broken
// UTF-8 and reads null as "leave it".
func decodeStrict(what string, data []byte, into any) error {
	if err := scanJSON(what, data, reflect.TypeOf(into).Elem()); err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return refuse(CodeJSON, "%s is not valid: %s", what, jsonFault(err))
	}
	return nil
}

// scanJSON checks the whole document: an object, valid UTF-8, nothing behind it,
// no duplicate or case-folded names, depth, one spelling of each number, no null.
// If t is a type, then also that every name is exactly one of its members, and
// that a fraction stands only where it has one. An [extensible] struct may have more
// members, but none that encoding/json would take for one of its own.
func scanJSON(what string, data []byte, t reflect.Type) error {
	s := scanner{what: what}
	switch {
	case !utf8.Valid(data):
		return s.fault("it is not valid UTF-8")
	case len(data) == 0 || data[0] != '{' || !json.Valid(data):
		return s.fault("it is not one JSON object")
	}
	s.dec = json.NewDecoder(bytes.NewReader(data))
	s.dec.UseNumber()
	return s.value(t, 0)
}

// extensible is implemented by structs that are signed by others than us too, or read
// by us long after they were made: members that we do not know are no mistake.
type extensible interface{ extensible() }

type scanner struct {
	what string
	dec  *json.Decoder
}

func (s *scanner) fault(format string, args ...any) error {
	return refuse(CodeJSON, "%s is not valid: %s", s.what, fmt.Sprintf(format, args...))
}

// value reads one value. t is nil where any shape will do.
func (s *scanner) value(t reflect.Type, depth int) error {
	token, err := s.dec.Token()
	if err != nil {
		return s.fault("%v", err)
	}
	switch token := token.(type) {
	case nil:
		return s.fault("it holds null")
	case string:
		return s.textOf(t, token)
	case json.Number:
		return s.number(t, token.String())
	case json.Delim:
		if depth == MaxJSONDepth {
			return s.fault("it is nested deeper than %d", MaxJSONDepth)
		}
		if token == '{' {
			return s.object(t, depth+1)
		}
		return s.array(t, depth+1)
	}
	return nil
}

func (s *scanner) object(t reflect.Type, depth int) error {
	known, others := members(t)
	seen := map[string]bool{}
	for s.dec.More() {
		token, err := s.dec.Token()
		if err != nil {
			return s.fault("%v", err)
		}
		name := token.(string)
		if err := s.text(name); err != nil {
			return err
		}
		if folded := fold(name); seen[folded] {
			return s.fault("member %s appears twice", quote(name))
		} else {
			seen[folded] = true
		}
		member, ok := known[name]
		if !ok {
			if member, err = s.other(t, known, others, name); err != nil {
				return err
			}
		}
		if err := s.value(member, depth); err != nil {
			return err
		}
	}
	_, err := s.dec.Token() // the closing brace
	return err
}

// other judges a name that is no member's, and returns the type of its value.
func (s *scanner) other(t reflect.Type, known map[string]reflect.Type, others reflect.Type, name string) (reflect.Type, error) {
	switch {
	case t == nil || others != nil:
		return others, nil
	case !t.Implements(reflect.TypeFor[extensible]()):
		return nil, refuse(CodeUnknownField, "%s holds the unknown member %s", s.what, quote(name))
	}
	for member := range known {
		if fold(member) == fold(name) {
			return nil, s.fault("member %s is not written as %s", quote(name), quote(member))
		}
	}
	return nil, nil
}

func (s *scanner) array(t reflect.Type, depth int) error {
	var element reflect.Type
	if t != nil && t.Kind() == reflect.Slice {
		element = t.Elem()
	}
	if isBytes(t) {
		return s.fault("a list of numbers stands where base64 is expected")
	}
	for s.dec.More() {
		if err := s.value(element, depth); err != nil {
			return err
		}
	}
	_, err := s.dec.Token() // the closing bracket
	return err
}

// textOf lets bytes be written in one way: encoding/json passes over line breaks in
// base64 and the bits that its last letter has too many, and takes lists of numbers.
func (s *scanner) textOf(t reflect.Type, v string) error {
	if isBytes(t) {
		if _, ok := strictBase64(v); !ok {
			return s.fault("%s is not base64 as it is written", quote(v))
		}
	}
	return s.text(v)
}

func isBytes(t reflect.Type) bool {
	return t != nil && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}

// text refuses U+FFFD, which encoding/json also returns for a lone surrogate.
func (s *scanner) text(v string) error {
	if strings.ContainsRune(v, utf8.RuneError) || strings.ContainsRune(v, 0) {
		return s.fault("a text in it holds a broken character")
	}
	return nil
}

// number lets fractions pass where a float is expected, or anything.
func (s *scanner) number(t reflect.Type, v string) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if (t == nil || t.Kind() == reflect.Float64) && isDecimal(v) {
		return nil
	}
	if t != nil && t.Kind() == reflect.Int {
		if _, err := strconv.ParseInt(v, 10, 32); err != nil { // on every machine what it is on the smallest
			return s.fault("%s is not a whole number below 2^31", quote(v))
		}
	}
	return s.integer(v)
}

// isDecimal knows a number's only spelling that signed JSON may have: no exponent,
// no zero at its end, at most [MaxJSONDecimals] digits behind the point.
func isDecimal(v string) bool {
	f, err := strconv.ParseFloat(v, 64)
	_, decimals, _ := strings.Cut(v, ".")
	return err == nil && math.Abs(f) <= MaxJSONInteger && len(decimals) <= MaxJSONDecimals && v != "-0" && spell(f) == v
}

// spell writes a number as encoding/json does within these bounds.
func spell(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func (s *scanner) integer(v string) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n > MaxJSONInteger || n < -MaxJSONInteger || strconv.FormatInt(n, 10) != v {
		return s.fault("%s is not a whole number up to 2^53", quote(v))
	}
	return nil
}

// members returns the JSON names of a struct type with their types. For a map it
// returns the type that the value of any name has.
func members(t reflect.Type) (names map[string]reflect.Type, others reflect.Type) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && t.Kind() == reflect.Map {
		return nil, t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, nil
	}
	names = map[string]reflect.Type{}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names[name] = field.Type
		}
	}
	return names, nil
}

// fold maps a name to the same text as every other name that encoding/json
// takes for it: letters differ by case, and ſ is s and K is k.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

// jsonFault words a decoder's error for people: it names the member, not Go's types.
func jsonFault(err error) string {
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("member %s cannot be a %s", mismatch.Field, mismatch.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// quote makes a text from a package safe to show: printable and short.
func quote(v string) string {
	const most = 64
	if len(v) > most {
		v = strings.ToValidUTF8(v[:most], "") + "…"
	}
	return strconv.Quote(v)
}
