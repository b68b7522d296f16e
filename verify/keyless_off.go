//go:build !keyless

package verify

// identified is a keyless signature; here there is none.
type identified struct{}

func parseKeyless(w wording, _ string, _ []byte) (envelope, error) {
	return envelope{}, refuse(CodeKeyless, "%s is signed without a key (keyless), which this software does not check", w.document)
}

func (*identified) signer(*Trust) (string, []LogEntry, error) { return "", nil, nil }
