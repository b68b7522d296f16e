package verify

import (
	"reflect"
	"strings"
	"testing"
)

type document struct {
	Name  string   `json:"name"`
	Count int64    `json:"count,omitempty"`
	Inner *inner   `json:"inner,omitempty"`
	List  []inner  `json:"list,omitempty"`
	Words []string `json:"words,omitempty"`
	Bound *float64 `json:"bound,omitempty"`
	Bytes []byte   `json:"bytes,omitempty"`
}

type inner struct {
	Flag bool `json:"flag"`
}

func TestDecodeStrictTakesWhatIsMeant(t *testing.T) {
	var got document
	text := ` {"name":"a \u00e9 \"b\" 😀","count":-9007199254740992,"inner":{"flag":true},"list":[{"flag":false},{}],"words":["x",""],"bound":-0.000001,"bytes":"e30="} ` + "\n"
	if err := decodeStrict("the document", []byte(strings.TrimLeft(text, " ")), &got); err != nil {
		t.Fatal(err)
	}
	want := document{"a é \"b\" 😀", -MaxJSONInteger, &inner{true}, []inner{{}, {}}, []string{"x", ""}, new(-1e-6), []byte("{}")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDecodeStrictRefuses(t *testing.T) {
	for _, row := range []struct{ name, text, code string }{
		{"nothing", ``, CodeJSON},
		{"a list", `[]`, CodeJSON},
		{"a text", `"name"`, CodeJSON},
		{"half an object", `{"name":"a"`, CodeJSON},
		{"two objects", `{"name":"a"}{"name":"b"}`, CodeJSON},
		{"a word behind", `{"name":"a"} x`, CodeJSON},
		{"a zero byte behind", "{\"name\":\"a\"}\x00", CodeJSON},
		{"duplicate name", `{"name":"a","name":"a"}`, CodeJSON},
		{"duplicate name deep inside", `{"list":[{"flag":true,"flag":true}]}`, CodeJSON},
		{"duplicate name by case", `{"name":"a","NAME":"a"}`, CodeJSON},
		{"name in another case", `{"Name":"a"}`, CodeUnknownField},
		{"unknown name", `{"nam":"a"}`, CodeUnknownField},
		{"unknown name deep inside", `{"list":[{"flag":true},{"flags":true}]}`, CodeUnknownField},
		{"empty name", `{"":"a"}`, CodeUnknownField},
		{"Go's name of a field", `{"Words":["a"]}`, CodeUnknownField},
		{"null", `{"inner":null}`, CodeJSON},
		{"null in a list", `{"words":[null]}`, CodeJSON},
		{"fraction", `{"count":1.5}`, CodeJSON},
		{"whole fraction", `{"count":1.0}`, CodeJSON},
		{"exponent", `{"count":1E2}`, CodeJSON},
		{"minus zero", `{"count":-0}`, CodeJSON},
		{"leading zero", `{"count":01}`, CodeJSON},
		{"above 2^53", `{"count":9007199254740993}`, CodeJSON},
		{"below -2^53", `{"count":-9007199254740993}`, CodeJSON},
		{"fraction with a zero at its end", `{"bound":1.50}`, CodeJSON},
		{"whole number as a fraction", `{"bound":1.0}`, CodeJSON},
		{"fraction with an exponent", `{"bound":15e-1}`, CodeJSON},
		{"fraction of seven digits", `{"bound":0.0000001}`, CodeJSON},
		{"fraction that no float is", `{"bound":9007199254740991.1}`, CodeJSON},
		{"fraction of minus zero", `{"bound":-0}`, CodeJSON},
		{"fraction above 2^53", `{"bound":1e300}`, CodeJSON},
		{"text for a fraction", `{"bound":"0.9"}`, CodeJSON},
		{"number for a text", `{"name":1}`, CodeJSON},
		{"text for a number", `{"count":"1"}`, CodeJSON},
		{"list for an object", `{"inner":[]}`, CodeJSON},
		{"object for a list", `{"list":{"flag":true}}`, CodeUnknownField},
		{"bytes with a line break", `{"bytes":"e3\n0="}`, CodeJSON},
		{"bytes with bits too many", `{"bytes":"e31="}`, CodeJSON},
		{"bytes as numbers", `{"bytes":[123,125]}`, CodeJSON},
		{"lone surrogate", `{"name":"\udc00"}`, CodeJSON},
		{"zero character", `{"name":"\u0000"}`, CodeJSON},
		{"broken UTF-8", "{\"name\":\"\xc3\"}", CodeJSON},
		{"byte order mark", "\ufeff{}", CodeJSON},
		{"trailing comma", `{"words":["a",]}`, CodeJSON},
		{"comment", `{"name":"a"/**/}`, CodeJSON},
		{"single quotes", `{'name':'a'}`, CodeJSON},
		{"control character", "{\"name\":\"a\nb\"}", CodeJSON},
	} {
		t.Run(row.name, func(t *testing.T) {
			var into document
			if err := decodeStrict("the document", []byte(row.text), &into); Code(err) != row.code {
				t.Errorf("got %v with code %q, want code %q", err, Code(err), row.code)
			}
		})
	}
}

func TestDepthLimit(t *testing.T) {
	nested := func(depth int) []byte {
		return []byte(strings.Repeat(`{"a":`, depth-1) + "{}" + strings.Repeat("}", depth-1))
	}
	if err := scanJSON("the document", nested(MaxJSONDepth), nil); err != nil {
		t.Errorf("depth %d: %v", MaxJSONDepth, err)
	}
	if err := scanJSON("the document", nested(MaxJSONDepth+1), nil); Code(err) != CodeJSON {
		t.Errorf("depth %d: %v", MaxJSONDepth+1, err)
	}
}

func TestFoldMatchesEncodingJSON(t *testing.T) {
	for _, pair := range [][2]string{{"name", "NAME"}, {"ſ", "s"}, {"ſ", "S"}, {"K", "k"}, {"É", "é"}} {
		if fold(pair[0]) != fold(pair[1]) {
			t.Errorf("%q and %q fold to %q and %q", pair[0], pair[1], fold(pair[0]), fold(pair[1]))
		}
	}
	if fold("a-b") == fold("a_b") {
		t.Error("different names fold to the same")
	}
}
