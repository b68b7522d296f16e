package boot

// What the fuzz tests look at.

// ParseCopy parses a copy and encodes what it found again.
func ParseCopy(f Format, raw []byte) (again []byte, whole bool, err error) {
	im := f.parse(raw)
	if !im.whole {
		return nil, false, nil
	}
	again, err = im.vars.encode(len(raw) - f.header())
	return again, true, err
}

// ParseEntryName takes a name apart and puts it together again.
func ParseEntryName(prefix, name string) (again string, ok bool) {
	e, ok := parseEntry(prefix, name)
	return e.file(prefix), ok
}
