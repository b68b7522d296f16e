package verify

import (
	"encoding/json"
	"slices"
)

// Types of the signed statement.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "urn:slipstream:release:v1"
	Format        = 1 // of the manifest
)

// Statement is the signed document: an in-toto Statement v1.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Manifest  `json:"predicate"`
}

// Subject is one member of the package.
type Subject struct {
	Name   string  `json:"name"`
	Digest Digests `json:"digest"`
}

// Digests of a subject: only SHA-256.
type Digests struct {
	SHA256 string `json:"sha256"`
}

// Statement returns the statement that a manifest is signed in. Its subjects
// are the chunk index and the image of each image, in the package's order.
func (m Manifest) Statement() Statement {
	s := Statement{Type: StatementType, PredicateType: PredicateType, Predicate: m}
	for _, member := range m.members(nil) {
		s.Subject = append(s.Subject, Subject{Name: member.Name, Digest: Digests{SHA256: member.SHA256}})
	}
	return s
}

// parseStatement reads a statement whose signature has been checked and
// validates its manifest.
func parseStatement(payload []byte) (Manifest, error) {
	const what = "the package's manifest"
	if err := scanJSON(what, payload, nil); err != nil {
		return Manifest{}, err
	}
	format, err := checkType(what, PredicateType, payload)
	if err != nil {
		return Manifest{}, err
	}
	if format > Format {
		return Manifest{}, refuse(CodeNewerFormat, "the package has format %d, this software reads only format %d: update it first", format, Format)
	}
	var s Statement
	if err := decodeStrict(what, payload, &s); err != nil {
		return Manifest{}, err
	}
	if err := s.Predicate.Validate(); err != nil {
		return Manifest{}, err
	}
	// Names and hashes both: another tool proves that a file is one of the
	// subjects, only this comparison proves which.
	if !slices.Equal(s.Subject, s.Predicate.Statement().Subject) {
		return Manifest{}, refuse(CodeSubjects, "%s lists other files than its images", what)
	}
	return s.Predicate, nil
}

// checkType looks at the words that say what the document is, before the rest is
// read strictly: a later format may have members that we do not know.
func checkType(what, predicateType string, payload []byte) (format int64, err error) {
	var head struct {
		Type          string `json:"_type"`
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			Format int64 `json:"format"`
		} `json:"predicate"`
	}
	if err := json.Unmarshal(payload, &head); err != nil {
		return 0, refuse(CodeJSON, "%s is not valid: %s", what, jsonFault(err))
	}
	if head.Type != StatementType || head.PredicateType != predicateType {
		return 0, refuse(CodeWrongDocument, "the signed document is not %s", what)
	}
	return head.Predicate.Format, nil
}
