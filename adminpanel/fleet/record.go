package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"slipstream/adminpanel/view"
)

// Record is what the store holds of a device, at d/<id>: what people say of it, who it is,
// and where it stood when that last changed.
type Record struct {
	ID   string   `json:"id"`
	Name string   `json:"name,omitempty"`
	Site string   `json:"site,omitempty"`
	Tags []string `json:"tags,omitempty"`
	Zone string   `json:"zone,omitempty"`
	Note string   `json:"note,omitempty"`

	Enrolled time.Time `json:"enrolled,omitzero"`
	Key      string    `json:"key,omitempty"`    // SHA-256 of its public key, hex
	Serial   string    `json:"serial,omitempty"` // of its newest certificate
	Until    time.Time `json:"until,omitzero"`   // that is good
	Revoked  time.Time `json:"revoked,omitzero"` // it was shut out; it stays known as such

	Product  string `json:"product,omitempty"`
	Hardware string `json:"hardware,omitempty"`
	Settled

	LastSeen time.Time `json:"lastSeen,omitzero"` // as of the last change of this record
	Away     bool      `json:"away,omitempty"`    // for longer than OfflineAfter
	Home     string    `json:"home,omitempty"`    // panel that it was linked to last
	Epoch    int64     `json:"epoch,omitempty"`   // of the newest ask
}

// Settled is which versions a device has when nothing is under way.
type Settled struct {
	Running  string   `json:"running,omitempty"`
	Slot     string   `json:"slot,omitempty"`
	Staged   string   `json:"staged,omitempty"`
	Previous string   `json:"previous,omitempty"`
	System   string   `json:"system,omitempty"`
	Runtime  string   `json:"runtime,omitempty"`
	Tried    []string `json:"tried,omitempty"` // versions that it went back from, the newest last
}

// Limits of a record. They are checked before anything is stored, and again when a
// record is read.
const (
	maxRecord = 64 << 10
	maxName   = 80
	maxNote   = 2000
	maxTags   = 32
	maxTag    = 60
	maxTried  = 16
	maxID     = 64
	maxHeard  = 128 // of what devices say
)

// idForm is narrow because the name is also a part of keys, files and URLs.
var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)

// CheckID refuses what cannot be the name of a device.
func CheckID(id string) error {
	if len(id) > maxID || !idForm.MatchString(id) {
		return fmt.Errorf("%.80q cannot name a device: letters, digits, . _ and - are allowed, at most %d of them", id, maxID)
	}
	return nil
}

// Check finds all that is wrong with a record.
func (r *Record) Check() error {
	problems := []error{
		CheckID(r.ID), text("the name", r.Name, maxName), text("the site", r.Site, maxName), text("the note", r.Note, maxNote), checkZone(r.Zone),
	}
	if len(r.Tags) > maxTags {
		problems = append(problems, fmt.Errorf("a device has at most %d tags", maxTags))
	}
	for _, tag := range r.Tags {
		problems = append(problems, checkTag(tag))
	}
	if r.Epoch < 0 {
		problems = append(problems, fmt.Errorf("epoch %d is negative", r.Epoch))
	}
	return errors.Join(problems...)
}

func text(what, s string, most int) error {
	switch {
	case utf8.RuneCountInString(s) > most:
		return fmt.Errorf("%s is longer than %d characters", what, most)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' }):
		return fmt.Errorf("%s has characters that cannot be shown", what)
	}
	return nil
}

func checkTag(tag string) error {
	if tag == "" || strings.TrimSpace(tag) != tag || strings.ContainsAny(tag, ",\"\n") {
		return fmt.Errorf("%.80q cannot be a tag: it is empty, or has commas, quotes or blanks at its ends", tag)
	}
	return text("a tag", tag, maxTag)
}

func checkZone(zone string) error {
	if zone == "" {
		return nil
	}
	if _, ok := zones.Load(zone); ok {
		return nil
	}
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		return fmt.Errorf("there is no time zone %.80q; one is Europe/Berlin", zone)
	}
	zones.Store(zone, nil)
	return nil
}

// zones are names that were found to be right: to look for one reads a file, and each
// record has one.
var zones sync.Map

// encode writes a record for the store.
func (r *Record) encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// Decode reads a record of the store. Fields that are not known are refused: to write the
// record back without them would lose what a newer panel has put there.
func Decode(value []byte) (Record, error) {
	var r Record
	if len(value) > maxRecord {
		return r, fmt.Errorf("a record of a device has %d bytes, %d at most", len(value), maxRecord)
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("read the record of a device: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("read the record of a device: something follows it")
	}
	return r, r.Check()
}

// patched is the record with what people want to be different.
func (r *Record) patched(p view.DevicePatch) Record {
	after := *r
	for _, f := range []struct {
		to   *string
		from *string
	}{{&after.Name, p.Name}, {&after.Site, p.Site}, {&after.Zone, p.Zone}, {&after.Note, p.Note}} {
		if f.from != nil {
			*f.to = strings.TrimSpace(*f.from)
		}
	}
	if p.Tags != nil {
		after.Tags = slices.Clone(*p.Tags)
		slices.Sort(after.Tags)
		after.Tags = slices.Compact(after.Tags)
	}
	return after
}

// said is the part of a record that people write: what an audit line shows.
func (r *Record) said() view.DevicePatch {
	tags := r.Tags
	if tags == nil {
		tags = []string{}
	}
	return view.DevicePatch{Name: &r.Name, Site: &r.Site, Tags: &tags, Zone: &r.Zone, Note: &r.Note}
}

func (s Settled) equal(other Settled) bool {
	return s.Running == other.Running && s.Slot == other.Slot && s.Staged == other.Staged && s.Previous == other.Previous &&
		s.System == other.System && s.Runtime == other.Runtime && slices.Equal(s.Tried, other.Tried)
}
