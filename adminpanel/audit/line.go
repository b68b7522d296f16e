package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"slipstream/adminpanel/view"
)

// Limits of a line. What is longer is cut, and a value told by its hash: a change is not
// refused because its line would be long.
const (
	maxText  = 2000     // bytes of a text
	maxValue = 16 << 10 // of the values before and after
	maxLine  = 128 << 10
)

const (
	hashLen = 2 * sha256.Size
	endMark = `,"hash":"`
	endLen  = len(endMark) + hashLen + len(`"}`)
)

// first stands for the hash before the first line.
var first = strings.Repeat("0", hashLen)

// encode makes a line of the chain and returns its hash.
func encode(line view.AuditLine, before string) (text []byte, hash string, err error) {
	line = bounded(line)
	line.Hash = first // in the place of its own
	if text, err = marshal(line); err != nil {
		return nil, "", fmt.Errorf("write an audit line: %w", err)
	}
	body := append(text[:len(text)-endLen:len(text)-endLen], '}')
	hash = hashed(before, body)
	return append(body[:len(body)-1], endMark+hash+`"}`...), hash, nil
}

func hashed(before string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(before + "\n"))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func marshal(line view.AuditLine) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(line)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func bounded(line view.AuditLine) view.AuditLine {
	line.At = line.At.UTC().Truncate(time.Millisecond)
	for _, text := range []*string{&line.Actor, &line.From, &line.Action, &line.Object, &line.Detail} {
		*text = cut(*text)
	}
	line.Before, line.After = short(line.Before), short(line.After)
	return line
}

// cut also makes the text valid, so that it reads as it was written.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	at := maxText
	for !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at]
}

func short(value json.RawMessage) json.RawMessage {
	if len(value) == 0 || string(value) == "null" {
		return nil
	}
	if len(value) <= maxValue {
		return value
	}
	return json.RawMessage(fmt.Sprintf(`{"bytes":%d,"sha256":"%x"}`, len(value), sha256.Sum256(value)))
}

// decode reads a stored line. There is one spelling of each.
func decode(text []byte) (view.AuditLine, error) {
	var line view.AuditLine
	if len(text) > maxLine {
		return line, fmt.Errorf("it is longer than %d bytes", maxLine)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&line); err != nil {
		return line, fmt.Errorf("it cannot be read: %w", err)
	}
	if len(line.Hash) != hashLen {
		return line, fmt.Errorf("its hash has %d digits", len(line.Hash))
	}
	same, err := marshal(line)
	if err != nil || !bytes.Equal(same, text) {
		return line, fmt.Errorf("it is not spelt as lines are")
	}
	return line, nil
}

// Value is what goes into a line's Before or After.
func Value(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return Value(err.Error())
	}
	return text
}

// Who does something, in the words of [view.AuditLine].
type Who struct {
	Actor string // "user NAME", "token ID", "enrolment ID", "device ID", "rollout ID" or "panel"
	From  string // address, if it came from one
}

// Line is a line that tells of what they did.
func (w Who) Line(action, object string) view.AuditLine {
	return view.AuditLine{Actor: w.Actor, From: w.From, Action: action, Object: object}
}
