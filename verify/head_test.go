package verify_test

import (
	"bytes"
	"fmt"
	"testing"

	"slipstream/verify"
)

// headFile is one member before the first image.
type headFile struct {
	name string
	data []byte
}

// files lists a head as a package has it.
func files(h verify.Head, vendorFrom, fleetFrom int) (list []headFile) {
	for i, data := range h.Bundles {
		list = append(list, headFile{numbered("manifest", i), data})
	}
	for i, data := range h.VendorRoots {
		list = append(list, headFile{fmt.Sprintf("trust/%d.root.json", vendorFrom+i), data})
	}
	for i, data := range h.FleetRoots {
		list = append(list, headFile{fmt.Sprintf("trust/fleet.%d.root.json", fleetFrom+i), data})
	}
	for i, data := range h.Orders {
		list = append(list, headFile{numbered("trust/order", i), data})
	}
	return list
}

func numbered(name string, i int) string {
	if i == 0 {
		return name + ".sigstore.json"
	}
	return fmt.Sprintf("%s.%d.sigstore.json", name, i+1)
}

// packed is the world's package with other files before its images.
func (w *trustWorld) packed(list []headFile) []byte {
	w.t.Helper()
	var b bytes.Buffer
	for _, f := range list {
		header := verify.Header(f.name, int64(len(f.data)))
		b.Write(header[:])
		b.Write(f.data)
		b.Write(make([]byte, verify.Padding(int64(len(f.data)))))
	}
	head := int64(len(w.f.head))
	b.Write(w.f.file[verify.Record+head+verify.Padding(head):])
	return b.Bytes()
}

func (w *trustWorld) open(pkg []byte) (*verify.Package, error) {
	p, err := verify.Open(bytes.NewReader(pkg), int64(len(pkg)), w.vendorRoot.Trust(), w.dev)
	return p, sameAsStream(err, bytes.NewReader(pkg), w.vendorRoot.Trust(), w.dev)
}

// A package that brings a new root of the vendor and of the fleet, two signatures
// and an order: what its device learns and lets in is what its head alone says.
func TestPackageWithAWholeHead(t *testing.T) {
	w := newTrustWorld(newFixture(t)).enrolled()
	vendor, fleet := next(w.vendor, nil), next(w.fleet, nil)
	h := w.good()
	h.VendorRoots = [][]byte{vendor.Sign(t, w.vendor.Root.Keys...)}
	h.FleetRoots = [][]byte{fleet.Sign(t, w.fleet.Root.Keys...)}
	list := files(h, 2, 2)
	p, err := w.open(w.packed(list))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Signers) != 2 || p.Learned.Vendor == nil || p.Learned.Fleet == nil || p.Learned.Order == nil {
		t.Errorf("signers %v, learned %+v", p.Signers, p.Learned)
	}
	for i, f := range list {
		if m := p.Members[i]; m.Name != f.name || m.Size != int64(len(f.data)) {
			t.Errorf("member %d is %+v, want %s", i, m, f.name)
		}
	}
	if err := p.CheckAll(t.Context()); err != nil {
		t.Error(err)
	}

	move := func(from, to int) []headFile {
		moved := append([]headFile(nil), list...)
		moved[from], moved[to] = moved[to], moved[from]
		return moved
	}
	for name, other := range map[string][]headFile{
		"a signature behind the roots":  move(1, 2),
		"an order before the roots":     move(2, 4),
		"the fleet before the vendor":   move(2, 3),
		"a root twice":                  append(append(append([]headFile(nil), list[:3]...), list[2]), list[3:]...),
		"a root with zeros in its name": append([]headFile{list[0], list[1], {"trust/02.root.json", list[2].data}}, list[3:]...),
		"a file of another name":        append([]headFile{list[0], {"trust/notes", []byte("x")}}, list[1:]...),
		"a first file of another name":  append([]headFile{{"trust/2.root.json", list[2].data}}, list...),
	} {
		if _, err := w.open(w.packed(other)); verify.Code(err) == "" {
			t.Errorf("%s: %v, not a refusal", name, err)
		}
	}
	pkg := w.packed(list)
	end := p.Members[len(list)].Offset - verify.Record
	for at := int64(0); at < end; at += 37 * int64(step()) { // each place costs several signatures
		flipped := bytes.Clone(pkg)
		flipped[at] ^= 1
		if q, err := w.open(flipped); err == nil && q.Digest != p.Digest {
			t.Fatalf("a flipped bit in byte %d makes another package", at)
		}
	}
}

// A head is bounded in number and size.
func TestHeadIsBounded(t *testing.T) {
	w := newTrustWorld(newFixture(t))
	bundle := w.good().Bundles[0]
	var many []headFile
	for i := range verify.MaxSignatures + 1 {
		many = append(many, headFile{numbered("manifest", i), bundle})
	}
	if _, err := w.open(w.packed(many)); verify.Code(err) != verify.CodeSignatureCount {
		t.Errorf("too many signatures: %v", err)
	}
	roots := []headFile{{verify.HeadName, bundle}}
	for i := range verify.MaxTrust + 1 {
		roots = append(roots, headFile{fmt.Sprintf("trust/%d.root.json", i+2), []byte("{}")})
	}
	if _, err := w.open(w.packed(roots)); verify.Code(err) != verify.CodeTooLarge {
		t.Errorf("too many roots: %v", err)
	}
	large := []headFile{{verify.HeadName, bundle}, {"trust/2.root.json", make([]byte, verify.MaxTrustFile+1)}}
	if _, err := w.open(w.packed(large)); verify.Code(err) != verify.CodeTooLarge {
		t.Errorf("a large root: %v", err)
	}
}
