package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"slipstream/verify"
)

var envelopes = []malicious{
	{1, "empty file", verify.CodeTruncated, func(f *fixture) error { return f.open(nil) }},
	{2, "not JSON", verify.CodeJSON, func(f *fixture) error { return f.withHead([]byte("hello")) }},
	{3, "no signatures", verify.CodeUnsigned, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) { e.Signatures = []dsse.Signature{} })
	}},
	{4, "signature of no bytes", verify.CodeUnsigned, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) { e.Signatures[0].Sig = "" })
	}},
	{5, "two signatures", verify.CodeSignatureCount, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) })
	}},
	{6, "10 000 signatures", verify.CodeSignatureCount, func(f *fixture) error {
		return f.envelope(func(e *dsse.Envelope) { e.Signatures = make([]dsse.Signature, 10_000) })
	}},
	{9, "signed without pre-authentication encoding", verify.CodeUntrusted, func(f *fixture) error {
		return f.signedText(f.payload)
	}},
	{10, "signed base64 text", verify.CodeUntrusted, func(f *fixture) error {
		return f.signedText(dsse.PAE(verify.PayloadType, []byte(base64.StdEncoding.EncodeToString(f.payload))))
	}},
	{11, "another payload type, rightly signed", verify.CodeWrongDocument, func(f *fixture) error {
		return f.signedAs("application/json")
	}},
	{12, "payload type changed after signing", verify.CodeWrongDocument, func(f *fixture) error {
		return f.bundle(verify.PayloadType, "application/json")
	}},
	{13, "payload type in capitals", verify.CodeWrongDocument, func(f *fixture) error {
		return f.signedAs("Application/vnd.in-toto+json")
	}},
	{13, "payload type with a character set", verify.CodeWrongDocument, func(f *fixture) error {
		return f.signedAs(verify.PayloadType + ";charset=utf-8")
	}},
	{14, "signature over a message instead of an envelope", verify.CodeUnknownField, func(f *fixture) error {
		return f.bundle(`"dsseEnvelope"`, `"messageSignature"`)
	}},
	{15, "both at once", verify.CodeUnknownField, func(f *fixture) error {
		return f.bundle(`"dsseEnvelope"`, `"messageSignature":{},"dsseEnvelope"`)
	}},
	{16, "bundle v0.1", verify.CodeBundle, func(f *fixture) error {
		return f.bundle(verify.MediaType, "application/vnd.dev.sigstore.bundle+json;version=0.1")
	}},
	{16, "bundle v0.2", verify.CodeBundle, func(f *fixture) error {
		return f.bundle(verify.MediaType, "application/vnd.dev.sigstore.bundle+json;version=0.2")
	}},
	{16, "bundle v0.99", verify.CodeBundle, func(f *fixture) error { return f.bundle("v0.3", "v0.99") }},
	{16, "no media type", verify.CodeBundle, func(f *fixture) error { return f.withHead([]byte(`{}`)) }},
	{17, "certificate instead of a public key", codeCertificate, func(f *fixture) error {
		return f.bundle(`"publicKey":{`, `"certificate":{`)
	}},
	{17, "chain of certificates instead of a public key", codeCertificate, func(f *fixture) error {
		return f.bundle(`"publicKey":{`, `"x509CertificateChain":{`)
	}},
	{17, "no public key", verify.CodeBundle, func(f *fixture) error {
		return f.withHead(f.replaceHint(`"verificationMaterial":{}`))
	}},
	{18, "a signed root of trust", verify.CodeWrongDocument, func(f *fixture) error {
		return f.withPayload([]byte(`{"signed":{"_type":"root","version":1},"signatures":[]}`))
	}},
	{18, "a statement of another predicate type", verify.CodeWrongDocument, func(f *fixture) error {
		return f.edited(verify.PredicateType, "urn:slipstream:order:v1")
	}},
	{18, "a statement of an older type", verify.CodeWrongDocument, func(f *fixture) error {
		return f.edited(verify.StatementType, "https://in-toto.io/Statement/v0.1")
	}},
	{28, "head taken away", verify.CodeNotPackage, func(f *fixture) error {
		return f.open(f.file[verify.Record+len(f.head)+int(verify.Padding(int64(len(f.head)))):])
	}},
	{29, "second signer over another statement", verify.CodePayload, func(f *fixture) error {
		other := signWith(f.t, f.stranger, []byte("{}"))
		return f.open(join(member(verify.HeadName, f.head), member("manifest.2.sigstore.json", other),
			member("app.tree.chunks", f.index), member("app.tree", f.image), make([]byte, 1024)))
	}},
	{30, "unknown member of the bundle", verify.CodeUnknownField, func(f *fixture) error {
		return f.bundle(`{"mediaType"`, `{"note":"x","mediaType"`)
	}},
	{30, "unknown member of the envelope", verify.CodeUnknownField, func(f *fixture) error {
		return f.bundle(`"payloadType"`, `"note":"x","payloadType"`)
	}},
}

var jsonTexts = []malicious{
	{31, "duplicate member of the bundle", verify.CodeJSON, func(f *fixture) error {
		return f.bundle(`{"mediaType"`, `{"mediaType":"x","mediaType"`)
	}},
	{31, "duplicate member of the manifest", verify.CodeJSON, func(f *fixture) error {
		return f.edited(`"releaseCounter":7`, `"releaseCounter":7,"releaseCounter":8`)
	}},
	{31, "duplicate member spelt with an escape", verify.CodeJSON, func(f *fixture) error {
		return f.edited(`"releaseCounter":7`, `"releaseCounter":7,"release\u0043ounter":8`)
	}},
	{32, "member twice in another case", verify.CodeJSON, func(f *fixture) error {
		return f.bundle(`"payloadType"`, `"PAYLOADTYPE":"x","payloadType"`)
	}},
	{32, "member twice, once with a long s", verify.CodeJSON, func(f *fixture) error {
		return f.edited(`"version":`, `"verſion":"x","version":`)
	}},
	{32, "member only in another case", verify.CodeUnknownField, func(f *fixture) error {
		return f.edited(`"releaseCounter"`, `"releasecounter"`)
	}},
	{33, "byte order mark", verify.CodeJSON, func(f *fixture) error { return f.withHead(join([]byte("\ufeff"), f.head)) }},
	{33, "byte order mark in the statement", verify.CodeJSON, func(f *fixture) error {
		return f.withPayload(join([]byte("\ufeff"), f.payload))
	}},
	{34, "broken UTF-8", verify.CodeJSON, func(f *fixture) error { return f.edited(`"gatecam"`, "\"gate\xffcam\"") }},
	{34, "half of a surrogate pair", verify.CodeJSON, func(f *fixture) error { return f.edited(`"gatecam"`, `"gate\ud800cam"`) }},
	{35, "nested 10 000 deep", verify.CodeJSON, func(f *fixture) error {
		return f.edited(`"gatecam"`, strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000))
	}},
	{35, "nested one too deep", verify.CodeJSON, func(f *fixture) error {
		return f.edited(`"gatecam"`, strings.Repeat("[", verify.MaxJSONDepth-1)+strings.Repeat("]", verify.MaxJSONDepth-1))
	}},
	{36, "counter 1e999", verify.CodeJSON, counter("1e999")},
	{36, "counter 1e1", verify.CodeJSON, counter("1e1")},
	{36, "counter 2^53+1", verify.CodeJSON, counter("9007199254740993")},
	{36, "counter -1", verify.CodeManifest, counter("-1")},
	{36, "counter -0", verify.CodeJSON, counter("-0")},
	{36, "counter 0", verify.CodeManifest, counter("0")},
	{36, "counter 1.0", verify.CodeJSON, counter("1.0")},
	{36, "counter as text", verify.CodeJSON, counter(`"7"`)},
	{37, "counter 2^63", verify.CodeJSON, counter("9223372036854775808")},
	{37, "counter 2^64", verify.CodeJSON, counter("18446744073709551616")},
	{37, "count of chunks 2^32+1", verify.CodeJSON, func(f *fixture) error {
		return f.edited(`"count":1`, `"count":4294967297`)
	}},
	{37, "count of chunks 2^31-1", verify.CodeManifest, func(f *fixture) error {
		return f.edited(`"count":1`, `"count":2147483647`)
	}},
	{38, "null for a counter", verify.CodeJSON, counter("null")},
	{38, "null for the app", verify.CodeJSON, func(f *fixture) error { return f.edited(`"app":{`, `"app":null,"was":{`) }},
	{38, "counter left out", verify.CodeManifest, func(f *fixture) error { return f.edited(`"releaseCounter":7,`, ``) }},
	{38, "app left out", verify.CodeManifest, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.App = nil })
	}},
	{39, "second object behind the bundle", verify.CodeJSON, func(f *fixture) error { return f.withHead(join(f.head, []byte("{}"))) }},
	{39, "second object behind the statement", verify.CodeJSON, func(f *fixture) error {
		return f.withPayload(join(f.payload, []byte("{}")))
	}},
	{40, "zero byte in a name", verify.CodeJSON, func(f *fixture) error { return f.edited(`"cam-a1"`, `"cam-a1\u0000"`) }},
	{40, "turned direction in a name", verify.CodeManifest, hardware("cam-a1\u202e")},
	{40, "combining mark in a name", verify.CodeManifest, hardware("cam-a\u03011")},
	{40, "Cyrillic letter in a name", verify.CodeManifest, hardware("c\u0430m-a1")},
	{40, "terminal escape in the notes", verify.CodeManifest, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Notes = "\x1b[2J" })
	}},
	{41, "text of 100 MB", verify.CodeTooLarge, func(f *fixture) error {
		return f.withHead(bytes.Repeat([]byte("x"), 100<<20))
	}},
	{42, "comment", verify.CodeJSON, func(f *fixture) error { return f.edited(`"product"`, `/* here */"product"`) }},
	{42, "trailing comma", verify.CodeJSON, func(f *fixture) error { return f.edited(`"cam-a2"`, `"cam-a2",`) }},
	{42, "trailing comma in the bundle", verify.CodeJSON, func(f *fixture) error { return f.bundle(`"}}`, `",}}`) }},
}

// envelope opens the package with its envelope changed, not signed again.
func (f *fixture) envelope(change func(*dsse.Envelope)) error { return f.withHead(f.spoilt(change)) }

// spoilt returns the bundle with its envelope changed, not signed again.
func (f *fixture) spoilt(change func(*dsse.Envelope)) []byte {
	f.t.Helper()
	var b verify.Bundle
	if err := json.Unmarshal(f.head, &b); err != nil {
		f.t.Fatal(err)
	}
	change(b.DSSE)
	head, err := json.Marshal(b)
	if err != nil {
		f.t.Fatal(err)
	}
	return head
}

func (f *fixture) signature(sig []byte) error {
	return f.envelope(func(e *dsse.Envelope) { e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(sig) })
}

// signedText puts the trusted key's signature over any bytes into the envelope.
func (f *fixture) signedText(text []byte) error {
	sum := sha256.Sum256(text)
	return f.signature(f.signDigest(sum[:]))
}

// signedAs signs the statement rightly, as another type of document.
func (f *fixture) signedAs(payloadType string) error {
	sum := sha256.Sum256(dsse.PAE(payloadType, f.payload))
	sig := f.signDigest(sum[:])
	return f.envelope(func(e *dsse.Envelope) {
		e.PayloadType = payloadType
		e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(sig)
	})
}

// replaceHint replaces the whole verification material.
func (f *fixture) replaceHint(with string) []byte {
	return f.replace(f.head, `"verificationMaterial":{"publicKey":{"hint":"`+keyID(f.key)+`"}}`, with)
}

func counter(text string) func(*fixture) error {
	return func(f *fixture) error { return f.edited(`"releaseCounter":7`, `"releaseCounter":`+text) }
}

func hardware(names ...string) func(*fixture) error {
	return func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Hardware = append([]string{}, names...) })
	}
}

func keyID(key *ecdsa.PrivateKey) string {
	id, err := verify.KeyID(&key.PublicKey)
	if err != nil {
		panic(err) // it is a generated P-256 key
	}
	return id
}
