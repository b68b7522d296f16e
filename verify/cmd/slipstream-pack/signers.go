package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// signerLine is one of a package's signatures.
type signerLine struct {
	KeyID   string `json:"keyId"` // as it names itself, "" if it does not
	Trusted bool   `json:"trusted"`
	Says    string `json:"says"` // for people
}

// rootLine is a root that the package carries.
type rootLine struct {
	Kind    string    `json:"kind"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Digest  string    `json:"digest"`
}

// orderLine is the fleet's order that the package carries.
type orderLine struct {
	verify.Order
	Checked bool   `json:"checked"`           // its signatures are the fleet's
	Refused string `json:"refused,omitempty"` // code, if they are not
}

// signersOf compares the keys that the signatures name with those that are known to
// have signed. A trusted key is recognised by its material, also where a signature
// does not name it.
func signersOf(f *pack.File, known []string, trust *verify.Trust) []signerLine {
	var lines []signerLine
	for _, hint := range f.Hints() {
		line := signerLine{KeyID: hint, Trusted: slices.Contains(known, hint), Says: "names this key, not checked"}
		switch {
		case line.Trusted:
			line.Says = whose(hint, trust)
		case hint == verify.KeylessSigner:
			line.Says = "an identity without a key"
		case trust != nil:
			line.Says = "names this key, which is not trusted here"
		}
		lines = append(lines, line)
	}
	for _, id := range known {
		if !slices.ContainsFunc(lines, func(l signerLine) bool { return l.KeyID == id }) {
			lines = append(lines, signerLine{KeyID: id, Trusted: true, Says: whose(id, trust) + " (its signature does not name it)"})
		}
	}
	return lines
}

// whose says where a trusted key, or an identity, comes from.
func whose(id string, trust *verify.Trust) string {
	root := trust.Root()
	if root == nil { // a file of keys knows no identities
		return "a key of the file of trusted keys"
	}
	if strings.HasPrefix(id, verify.KeylessSigner) {
		return fmt.Sprintf("an identity of the vendor's root %d", root.Version())
	}
	return fmt.Sprintf("a release key of the vendor's root %d (%d of %d must sign)", root.Version(), trust.Threshold(), len(trust.KeyIDs()))
}

func rootsOf(f *pack.File) ([]rootLine, error) {
	var lines []rootLine
	for _, data := range slices.Concat(f.Head.VendorRoots, f.Head.FleetRoots) {
		root, err := verify.DraftRoot(data)
		if err != nil {
			return nil, err
		}
		lines = append(lines, rootLine{root.Terms().Kind, root.Version(), root.Expires(), root.Digest()})
	}
	return lines, nil
}

func orderOf(f *pack.File, fleet *verify.Root) (*orderLine, error) {
	if len(f.Head.Orders) == 0 {
		return nil, nil
	}
	order, err := pack.ReadOrder(f.Head.Orders[0])
	if err != nil {
		return nil, err
	}
	line := &orderLine{Order: order}
	if fleet == nil {
		return line, nil
	}
	if fleet, err = fleet.Follow(f.Head.FleetRoots); err != nil {
		return nil, err
	}
	_, err = verify.ParseOrder(f.Head.Orders, fleet)
	line.Checked, line.Refused = err == nil, verify.Code(err)
	return line, nil
}

func (o *orderLine) print(w io.Writer) {
	if o == nil {
		return
	}
	whom := "every device of the fleet"
	switch {
	case len(o.Devices) > 0:
		whom = "devices " + strings.Join(o.Devices, ", ")
	case len(o.Hardware) > 0:
		whom = "every device of hardware " + strings.Join(o.Hardware, ", ")
	}
	signed := "signatures not checked"
	switch {
	case o.Checked:
		signed = "signed by the fleet"
	case o.Refused != "":
		signed = "not signed by the fleet given (" + o.Refused + ")"
	}
	fmt.Fprintf(w, "order\t%d, for %s, until %s, %s\n", o.Sequence, whom, o.Expires.Format(time.DateOnly), signed)
}

func (o *opinion) print(w io.Writer) {
	switch {
	case o == nil:
	case o.Takes:
		fmt.Fprintln(w, "\nthe device\twould take it")
	default:
		fmt.Fprintf(w, "\nthe device\trefuses it: %s (%s)\n", o.Message, o.Code)
	}
}
