package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// unknownField is what encoding/json says about a key that no field has. It
// tells neither where nor with a type of its own.
const unknownField = "json: unknown field "

// faultLine says on which line of a template the fault is, as ":LINE", or "" if
// that is not certain.
func faultLine(data []byte, err error) string {
	at := int64(-1)
	if fault, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = fault.Offset - 1 // it counts the byte at fault
	} else if fault, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		at = fault.Offset
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		at = int64(len(bytes.TrimSpace(data)))
	} else if name, ok := strings.CutPrefix(err.Error(), unknownField); ok {
		at = onlyKey(data, name)
	}
	if at < 0 {
		return ""
	}
	return fmt.Sprintf(":%d", 1+bytes.Count(data[:min(at, int64(len(data)))], []byte("\n")))
}

// onlyKey finds a quoted key that stands in the text once, else it returns -1: of
// two places one may be right.
func onlyKey(data []byte, quoted string) int64 {
	found := regexp.MustCompile(regexp.QuoteMeta(quoted)+`\s*:`).FindAllIndex(data, 2)
	if len(found) != 1 {
		return -1
	}
	return int64(found[0][0])
}

func faultWords(err error) string {
	switch fault, ok := errors.AsType[*json.UnmarshalTypeError](err); {
	case ok:
		return fmt.Sprintf("%s cannot be a %s", fault.Field, fault.Value)
	case errors.Is(err, io.EOF):
		return "the file is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the file ends before its last closing brace"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
