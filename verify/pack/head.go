package pack

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"slipstream/verify"
)

// headMember is a file before the first image.
type headMember struct {
	name string
	data []byte
}

// headMembers lists a head's files in the order in which they stand.
func headMembers(h verify.Head) ([]headMember, error) {
	var list []headMember
	for i, data := range h.Bundles {
		list = append(list, headMember{numbered("manifest", i), data})
	}
	for _, roots := range []struct {
		prefix string
		chain  [][]byte
	}{{"trust/", h.VendorRoots}, {"trust/fleet.", h.FleetRoots}} {
		for _, data := range roots.chain {
			root, err := verify.DraftRoot(data)
			if err != nil {
				return nil, err
			}
			list = append(list, headMember{fmt.Sprintf("%s%d.root.json", roots.prefix, root.Version()), data})
		}
	}
	for i, data := range h.Orders {
		list = append(list, headMember{numbered("trust/order", i), data})
	}
	return list, checkHead(h)
}

// numbered is a name of a signature file: the first has no number.
func numbered(name string, i int) string {
	if i == 0 {
		return name + ".sigstore.json"
	}
	return fmt.Sprintf("%s.%d.sigstore.json", name, i+1)
}

// checkHead makes nothing that no device would read.
func checkHead(h verify.Head) error {
	if n := len(h.Bundles); n > verify.MaxSignatures {
		return fmt.Errorf("the package would have %d signatures, the limit is %d", n, verify.MaxSignatures)
	}
	if n := len(h.VendorRoots) + len(h.FleetRoots) + len(h.Orders); n > verify.MaxTrust {
		return fmt.Errorf("the package would have %d roots and orders, the limit is %d", n, verify.MaxTrust)
	}
	total := 0
	for _, data := range slices.Concat(h.Bundles, h.VendorRoots, h.FleetRoots, h.Orders) {
		if len(data) > verify.MaxBundle {
			return fmt.Errorf("the signed manifest has %d bytes, the limit is %d", len(data), verify.MaxBundle)
		}
		total += verify.Record + len(data) + int(verify.Padding(int64(len(data))))
	}
	if total > verify.MaxHead {
		return fmt.Errorf("the package's signatures, roots and orders would have %d bytes together, the limit is %d", total, verify.MaxHead)
	}
	return nil
}

func writeHead(w io.Writer, h verify.Head) error {
	members, err := headMembers(h)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := writeMember(w, m.name, m.data); err != nil {
			return err
		}
	}
	return nil
}

var (
	bundleName = regexp.MustCompile(`^manifest(\.[2-9])?\.sigstore\.json$`)
	vendorName = regexp.MustCompile(`^trust/[0-9]+\.root\.json$`)
	fleetName  = regexp.MustCompile(`^trust/fleet\.[0-9]+\.root\.json$`)
	orderName  = regexp.MustCompile(`^trust/order(\.[2-9])?\.sigstore\.json$`)
)

// take puts a file where it belongs in a head, and says whether it belongs there.
func take(h *verify.Head, name string, data []byte) bool {
	switch {
	case bundleName.MatchString(name):
		h.Bundles = append(h.Bundles, data)
	case vendorName.MatchString(name):
		h.VendorRoots = append(h.VendorRoots, data)
	case fleetName.MatchString(name):
		h.FleetRoots = append(h.FleetRoots, data)
	case orderName.MatchString(name):
		h.Orders = append(h.Orders, data)
	default:
		return false
	}
	return true
}

// unsignedBundle holds a statement that nobody has signed yet. Every device
// refuses it.
func unsignedBundle(payload []byte) ([]byte, error) {
	return encodeBundle(&verify.PublicKey{}, verify.PayloadType, payload, []dsse.Signature{})
}

// openBundle takes a bundle apart, without judging it.
func openBundle(data []byte) (b verify.Bundle, payload []byte, err error) {
	if err := json.Unmarshal(data, &b); err != nil || b.DSSE == nil {
		return b, nil, fmt.Errorf("it is not a sigstore bundle with a DSSE envelope")
	}
	payload, err = base64.StdEncoding.DecodeString(b.DSSE.Payload)
	if err != nil {
		return b, nil, fmt.Errorf("its payload is not base64: %w", err)
	}
	return b, payload, nil
}
