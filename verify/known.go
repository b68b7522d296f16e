package verify

// Known reads an installed version's bundle by its package digest alone. The
// digest names the whole signed statement, so who verified it before, and kept
// the digest where nobody else writes, need not ask for the keys again to know
// what it says. To start anything of it, ask [Recheck].
func Known(bundle []byte, want string) (Manifest, error) {
	e, err := parseBundle(packageWords, PayloadType, bundle)
	if err != nil {
		return Manifest{}, err
	}
	if got := digest(e.payload); got != want {
		return Manifest{}, refuse(CodeBundle, "the stored signature file is of package %s, not of %s", got, want)
	}
	return parseStatement(e.payload)
}
