package core

import (
	"crypto/sha256"
	"reflect"
	"strconv"
	"sync"
	"time"
)

// notInKey are fields that tell people how something came about, and decide nothing.
var notInKey = map[string]bool{
	"Detail": true, "Evidence": true, "LastExit": true, "Switched": true, "Verdicts": true,
	"Began": true, "TookOver": true, "Since": true, "LastExitAt": true, "Rules": true, "now": true,
	"Cause": true, "cause": true, "armedAt": true, "By": true, "Streams": true,
}

// longAgo is for how long after a time has come it still matters when that was.
const longAgo = -2 * int64(time.Second)

// key names a state: two states of one key go on in the same way.
type key [16]byte

// key sums up all that matters of a state, times as seen from now.
func (d *device) key() (k key) {
	sum := sha256.Sum256(appendKey(make([]byte, 0, 2048), reflect.ValueOf(d).Elem(), d.now))
	copy(k[:], sum[:])
	return k
}

func appendKey(b []byte, v reflect.Value, now int64) []byte {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, '+')
		}
		return append(b, '-')
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int8:
		n := v.Int()
		if n > modelStart/2 && n < never {
			n = max(n-now, longAgo)
		}
		return append(strconv.AppendInt(b, n, 36), ',')
	case reflect.Uint64, reflect.Uint32, reflect.Uint8:
		return append(strconv.AppendUint(b, v.Uint(), 36), ',')
	case reflect.String:
		return append(append(b, v.String()...), ',')
	case reflect.Slice, reflect.Array:
		b = append(b, '[')
		for i := range v.Len() {
			b = appendKey(b, v.Index(i), now)
		}
		return append(b, ']')
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return append(b, '0')
		}
		if v.Kind() == reflect.Interface {
			b = append(b, v.Elem().Type().Name()...)
		}
		return appendKey(b, v.Elem(), now)
	case reflect.Struct:
		b = append(b, '{')
		for _, i := range fieldsInKey(v.Type()) {
			b = appendKey(b, v.Field(i), now)
		}
		return append(b, '}')
	}
	panic("a state with a " + v.Kind().String())
}

var keyFields sync.Map // by type

func fieldsInKey(t reflect.Type) (fields []int) {
	if known, ok := keyFields.Load(t); ok {
		return known.([]int)
	}
	for i := range t.NumField() {
		if !notInKey[t.Field(i).Name] {
			fields = append(fields, i)
		}
	}
	keyFields.Store(t, fields)
	return fields
}
