package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzScan: the scan takes exactly the objects that a tree made by encoding/json shows
// to be readable in one way only, and what it takes as one of our documents is read
// into it member by member as it stands in that tree.
func FuzzScan(f *testing.F) {
	for _, v := range []any{
		sampleManifest().Statement(), Order{Package: strings.Repeat("0", 64), Devices: []string{"cam-7"}}.Statement(), Freshness{Format: 1},
		rootFile{Signed: rootSigned{Keys: map[string]rootKey{"a": {}}, Terms: Terms{Keyless: &Keyless{TrustedRoot: []byte("{}")}}}},
		document{Inner: &inner{true}, List: []inner{{}}, Words: []string{"x"}, Bound: new(-12.5)},
	} {
		text, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{
		`{"a":1,"a":1}`, `{"a":1,"A":1}`, `{"s":1,"ſ":2}`, `{"K":1,"k":2}`, `{"a":{"b":1,"\u0062":2}}`, `{"name":"a:b\":"}`, `{"a":"\ud83d\ude00"}`,
		`{"count":9007199254740992}`, `{"count":9007199254740993}`, `{"bound":0.000001}`, `{"bound":1e-6}`, `{"bound":-0}`, `{"bound":-0.0}`,
		`{"a":9007199254740991.1}`, `{"a":0.1000000}`, `{"a":null}`, `{"a":"\u0000"}`, `{"a":"\ud800"}`, "{\"a\":\"\ufffd\"}", "{}\x00", "{}{}", " {}", "{} ",
		`{"Words":["x"]}`, `{"signed":{"Keys":{}}}`, `{"signed":{"slipstream":{"KIND":"vendor"}}}`, `{"signed":{"slipstream":{"keyless":{"trustedRoot":[123,125]}}}}`,
		`{"signed":{"slipstream":{"keyless":{"trustedRoot":"e3\n0="}}}}`, `{"signed":{"slipstream":{"keyless":{"trustedRoot":"e31="}}}}`,
		strings.Repeat(`{"a":`, MaxJSONDepth) + "{}" + strings.Repeat("}", MaxJSONDepth),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, why := oneReading(data)
		if err := scanJSON("it", data, nil); (err == nil) != (why == nil) {
			t.Fatalf("%q: the scan says %v, the tree says %v", data, err, why)
		} else if err != nil {
			mustBeRefusal(t, err)
		}
		for _, into := range []any{new(document), new(Statement), new(OrderStatement), new(Freshness), new(Bundle), new(rootFile)} {
			if err := decodeStrict("it", data, into); err != nil {
				mustBeRefusal(t, err)
				continue
			}
			if why != nil {
				t.Fatalf("%q was read as a %T, the tree says %v", data, into, why)
			}
			if err := same(reflect.ValueOf(into).Elem(), tree); err != nil {
				t.Fatalf("%q was read as %+v: %v", data, into, err)
			}
		}
	})
}

// oneReading returns what encoding/json makes of an object, or why another reader may
// make something else of it.
func oneReading(data []byte) (any, error) {
	var tree any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	switch err := json.Unmarshal(data, new(any)); {
	case err != nil:
		return nil, err
	case !utf8.Valid(data):
		return nil, fmt.Errorf("not UTF-8")
	case data[0] != '{':
		return nil, fmt.Errorf("no object from the first byte on")
	}
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	there, err := inspect(tree, 1)
	if err == nil && there != membersOf(data) {
		err = fmt.Errorf("%d members are written, %d are there", membersOf(data), there)
	}
	return tree, err
}

// membersOf counts members as they are written: colons outside of texts.
func membersOf(data []byte) int {
	outside := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`).ReplaceAll(data, nil)
	return bytes.Count(outside, []byte(":"))
}

var numberRE = regexp.MustCompile(`^(0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)\.[0-9]{0,5}[1-9])$`)

// inspect counts the members of a tree, and finds what is not read by everyone alike.
func inspect(v any, depth int) (n int, err error) {
	switch v := v.(type) {
	case nil:
		return 0, fmt.Errorf("null")
	case string:
		if strings.ContainsAny(v, "\x00\ufffd") {
			return 0, fmt.Errorf("a broken character")
		}
	case json.Number:
		text := v.String()
		exact, ok := new(big.Rat).SetString(text)
		f, _ := strconv.ParseFloat(text, 64)
		again, err := json.Marshal(f)
		if !ok || err != nil || !numberRE.MatchString(text) || exact.Abs(exact).Cmp(big.NewRat(MaxJSONInteger, 1)) > 0 || string(again) != text {
			return 0, fmt.Errorf("the number %s", text)
		}
	case []any:
		return inspectAll(v, depth)
	case map[string]any:
		var all []any
		for name, member := range v {
			for other := range v {
				if name != other && strings.EqualFold(name, other) {
					return 0, fmt.Errorf("%q and %q", name, other)
				}
			}
			all = append(all, name, member)
		}
		n, err := inspectAll(all, depth)
		return n + len(v), err
	}
	return 0, nil
}

func inspectAll(all []any, depth int) (n int, err error) {
	if depth > MaxJSONDepth {
		return 0, fmt.Errorf("nested deeper than %d", MaxJSONDepth)
	}
	for _, v := range all {
		more, err := inspect(v, depth+1)
		if err != nil {
			return 0, err
		}
		n += more
	}
	return n, nil
}

// same compares a value with the tree that it was read from: every member of the tree
// is in the field of exactly its name, and the fields of no member are empty.
func same(v reflect.Value, tree any) error {
	differs := fmt.Errorf("%v was read from %v", v, tree)
	text, _ := tree.(string)
	number, _ := tree.(json.Number)
	var ok bool
	switch v.Kind() {
	case reflect.Pointer:
		return same(v.Elem(), tree)
	case reflect.Map, reflect.Struct:
		if at, is := reflect.TypeAssert[time.Time](v); is {
			want, err := time.Parse(time.RFC3339Nano, text)
			ok = err == nil && at.Equal(want)
			break
		}
		members, is := tree.(map[string]any)
		if !is {
			return differs
		}
		return sameMembers(v, members)
	case reflect.Slice:
		if raw, is := reflect.TypeAssert[[]byte](v); is {
			ok = base64.StdEncoding.EncodeToString(raw) == text
			break
		}
		return sameList(v, tree)
	case reflect.String:
		_, is := tree.(string)
		ok = is && v.String() == text
	case reflect.Bool:
		ok = tree == v.Bool()
	case reflect.Int, reflect.Int64:
		ok = strconv.FormatInt(v.Int(), 10) == number.String()
	case reflect.Float64:
		ok = strconv.FormatFloat(v.Float(), 'f', -1, 64) == number.String()
	}
	if !ok {
		return differs
	}
	return nil
}

func sameList(v reflect.Value, tree any) error {
	list, ok := tree.([]any)
	if !ok || len(list) != v.Len() {
		return fmt.Errorf("%v was read from %v", v, tree)
	}
	for i := range list {
		if err := same(v.Index(i), list[i]); err != nil {
			return err
		}
	}
	return nil
}

func sameMembers(v reflect.Value, tree map[string]any) error {
	if v.Kind() == reflect.Map {
		if v.Len() != len(tree) {
			return fmt.Errorf("%v was read from %v", v, tree)
		}
		for name, member := range tree {
			value := v.MapIndex(reflect.ValueOf(name))
			if !value.IsValid() {
				return fmt.Errorf("%q is missing", name)
			}
			if err := same(value, member); err != nil {
				return err
			}
		}
		return nil
	}
	known := 0
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		member, there := tree[name]
		if name == "" || name == "-" || !there {
			if !v.Field(i).IsZero() {
				return fmt.Errorf("nothing was said of %s, it is %v", v.Type().Field(i).Name, v.Field(i))
			}
			continue
		}
		known++
		if err := same(v.Field(i), member); err != nil {
			return err
		}
	}
	if _, open := reflect.TypeAssert[extensible](v); known < len(tree) && !open {
		return fmt.Errorf("members of %v were passed over", tree)
	}
	return nil
}
