package verify

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// headReader takes the members before the first image, which come in this order:
//
//	manifest.sigstore.json manifest.2.sigstore.json …
//	trust/N.root.json trust/N+1.root.json …
//	trust/fleet.N.root.json trust/fleet.N+1.root.json …
//	trust/order.sigstore.json trust/order.2.sigstore.json …
//
// How many there are is nobody's signed word. Where they end, the first image must
// begin, of which the manifest says all.
type headReader struct {
	head    Head
	members []Member
	kind    int // of the last one
	number  int // that the last root's name had
	next    int64
}

// Kinds of members before the first image.
const (
	headBundle = iota
	headVendor
	headFleet
	headOrder
)

// readHead returns the contents of the members before the first image, and where
// they stand.
func readHead(r io.ReaderAt, size int64) (Head, []Member, error) {
	var h headReader
	for {
		more, err := h.read(r, size)
		if err != nil || !more {
			return h.head, h.members, err
		}
	}
}

// read takes the next member; it reports false where the head ends.
func (h *headReader) read(r io.ReaderAt, size int64) (more bool, err error) {
	first := len(h.members) == 0
	if size < h.next+Record {
		if first {
			return false, refuse(CodeTruncated, "the file has %d bytes, which is too short for a package", size)
		}
		return false, refuse(CodeTruncated, "the package ends behind its signatures")
	}
	var header [Record]byte
	if err := readAt(r, h.next, header[:]); err != nil {
		return false, err
	}
	name := HeadName
	if !first {
		raw, _, _ := bytes.Cut(header[:100], []byte{0})
		name = string(raw)
	}
	kind, number, ok := h.place(name)
	if !ok {
		return false, nil
	}
	n, err := headSize(&header, name, headLimit(kind))
	if err != nil {
		return false, err
	}
	if err := h.bounded(kind, n); err != nil {
		return false, err
	}
	if size < h.next+Record+n+Padding(n) {
		return false, refuse(CodeTruncated, "the package ends within %s", name)
	}
	data := make([]byte, n+Padding(n)) // what is behind it is judged with the rest of the layout
	if err := readAt(r, h.next+Record, data); err != nil {
		return false, err
	}
	data = data[:n:n]
	h.members = append(h.members, Member{Name: name, Offset: h.next + Record, Size: n})
	h.next += Record + n + Padding(n)
	h.kind, h.number = kind, number
	list := [...]*[][]byte{&h.head.Bundles, &h.head.VendorRoots, &h.head.FleetRoots, &h.head.Orders}[kind]
	*list = append(*list, data)
	return true, nil
}

// place says what a member of that name is, if it may come next.
func (h *headReader) place(name string) (kind, number int, ok bool) {
	switch name {
	case signatureName("manifest", len(h.head.Bundles)):
		return headBundle, 0, h.kind == headBundle
	case signatureName("trust/order", len(h.head.Orders)):
		return headOrder, 0, true
	}
	kind, text := headVendor, ""
	if text, ok = strings.CutPrefix(name, "trust/fleet."); ok {
		kind = headFleet
	} else if text, ok = strings.CutPrefix(name, "trust/"); !ok {
		return 0, 0, false
	}
	text, ok = strings.CutSuffix(text, ".root.json")
	number, err := strconv.Atoi(text)
	if !ok || err != nil || number < 1 || strconv.Itoa(number) != text || kind < h.kind {
		return 0, 0, false
	}
	return kind, number, kind > h.kind || number == h.number+1
}

// signatureName is the name of the n-th file, from 0 on, of signatures over one
// document.
func signatureName(document string, n int) string {
	if n == 0 {
		return document + ".sigstore.json"
	}
	return fmt.Sprintf("%s.%d.sigstore.json", document, n+1)
}

func headLimit(kind int) int64 {
	if kind == headVendor || kind == headFleet {
		return MaxTrustFile
	}
	return MaxBundle
}

// bounded refuses one member more, of n bytes, than a head may have.
func (h *headReader) bounded(kind int, n int64) error {
	trust := len(h.members) - len(h.head.Bundles)
	switch {
	case kind == headBundle && len(h.head.Bundles) >= MaxSignatures:
		return refuse(CodeSignatureCount, "the package has more than %d signatures", MaxSignatures)
	case trust >= MaxTrust:
		return refuse(CodeTooLarge, "the package has more than %d files of trust", MaxTrust)
	case h.next+n > MaxHead:
		return refuse(CodeTooLarge, "the package's signatures and files of trust have more than %d bytes", MaxHead)
	}
	return nil
}
