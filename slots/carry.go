package slots

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// carryOver adds to a document of type t what the one before it has and t does not
// know, at every depth. Of an object that tells of a version by its digest nothing
// is carried over to another version.
func carryOver(doc, before []byte, t reflect.Type) ([]byte, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct && t.Kind() != reflect.Map {
		return doc, nil
	}
	var now, old map[string]json.RawMessage
	if err := json.Unmarshal(doc, &now); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(before, &old); err != nil {
		return nil, err
	}
	if now == nil || t.Kind() == reflect.Struct && !bytes.Equal(now["digest"], old["digest"]) {
		return doc, nil
	}
	for name, value := range old {
		member, known := memberType(t, name)
		if !known {
			now[name] = value
			continue
		}
		if own, ok := now[name]; ok {
			carried, err := carryOver(own, value, member)
			if err != nil {
				return nil, err
			}
			now[name] = carried
		}
	}
	return json.Marshal(now)
}

// memberType is the type of an object's member. All members of a map are known.
func memberType(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	for field := range t.Fields() {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name {
			return field.Type, true
		}
	}
	return nil, false
}
