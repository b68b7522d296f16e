package verify

import (
	"bytes"
	"slices"
)

// Stored returns the package's head as a file of its own, to be kept beside what is
// installed: a tar file of everything before the first image, byte for byte as it
// came. With all the signatures, roots and orders in it, what was accepted once can
// be judged again from the disk alone.
func (p *Package) Stored() []byte {
	return encodeHead(p.Members[:len(p.Members)-2*len(p.Manifest.Images)], p.Head)
}

func encodeHead(members []Member, h Head) []byte {
	var out []byte
	for i, data := range slices.Concat(h.Bundles, h.VendorRoots, h.FleetRoots, h.Orders) {
		header := Header(members[i].Name, members[i].Size)
		out = append(out, header[:]...)
		out = append(out, data...)
		out = append(out, make([]byte, Padding(members[i].Size))...)
	}
	return append(out, make([]byte, trailer)...)
}

// parseStored takes a head as strictly as one in a package. A single bundle without a
// tar file around it is what the first devices kept.
func parseStored(stored []byte) (Head, error) {
	if bytes.HasPrefix(stored, []byte("{")) {
		return Head{Bundles: [][]byte{stored}}, nil
	}
	head, members, err := readHead(bytes.NewReader(stored), int64(len(stored)))
	if err != nil {
		return Head{}, err
	}
	if !bytes.Equal(encodeHead(members, head), stored) {
		return Head{}, refuse(CodeHeader, "the stored signatures are damaged")
	}
	return head, nil
}

// Recheck verifies an installed version again by what [Package.Stored] returned: at
// every start, because nothing runs that was not verified, and the trusted keys may
// have changed. It returns what was signed, and the package's digest.
func Recheck(stored []byte, trust *Trust) (Manifest, string, error) {
	head, err := parseStored(stored)
	if err != nil {
		return Manifest{}, "", err
	}
	found, err := judge(head, trust, nil)
	if err != nil {
		return Manifest{}, "", err
	}
	return found.manifest, digest(found.signed.payload), nil
}

// Relearn judges an installed version as [Open] has, and returns what it brought: for
// a device that lost power after the version was written and before that was noted.
func Relearn(stored []byte, trust *Trust, dev Device) (Learned, error) {
	head, err := parseStored(stored)
	if err != nil {
		return Learned{}, err
	}
	found, err := judge(head, trust, &dev)
	return found.learned, err
}

// Known reads what [Package.Stored] returned by the package's digest alone. The
// digest names the whole signed statement, so who verified it before, and kept
// the digest where nobody else writes, need not ask for the keys again to know
// what it says. To start anything of it, ask [Recheck].
func Known(stored []byte, want string) (Manifest, error) {
	head, err := parseStored(stored)
	if err != nil {
		return Manifest{}, err
	}
	e, err := parseBundle(packageWords, PayloadType, head.Bundles[0])
	if err != nil {
		return Manifest{}, err
	}
	if got := digest(e.payload); got != want {
		return Manifest{}, refuse(CodeBundle, "the stored signature file is of package %s, not of %s", got, want)
	}
	return parseStatement(e.payload)
}
