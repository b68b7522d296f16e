package pack

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"slipstream/verify"
)

func oneSignature(sig []byte) []dsse.Signature {
	return []dsse.Signature{{Sig: encode64(sig)}}
}

// Sign adds a key's signature to those that are there.
func (f *File) Sign(ctx context.Context, s *Signer) error {
	if f.SignedBy(s.public) {
		return fmt.Errorf("key %s has signed this package already: a second signature of one key counts for nothing", s.id)
	}
	bundle, err := s.Bundle(ctx, f.Payload)
	if err != nil {
		return err
	}
	return f.add(bundle)
}

// AttachSignature adds a signature that was made elsewhere over the package's
// [PAE]: DER, or its base64 text.
func (f *File) AttachSignature(public *ecdsa.PublicKey, sig []byte) error {
	if text, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(sig))); err == nil {
		sig = text
	}
	if f.SignedBy(public) {
		return fmt.Errorf("this key has signed the package already: a second signature of one key counts for nothing")
	}
	bundle, err := signedBundle(public, verify.PayloadType, f.Payload, sig)
	if err != nil {
		return err
	}
	return f.add(bundle)
}

// AttachBundle adds a bundle that another tool made over the package's statement,
// for example cosign. If a key is given, it must be the one that signed.
func (f *File) AttachBundle(data []byte, public *ecdsa.PublicKey) error {
	if _, payload, err := openBundle(data); err != nil {
		return err
	} else if !bytes.Equal(payload, f.Payload) {
		return fmt.Errorf("it signs another statement than this package's: sign the file that `slipstream-pack statement` prints, byte for byte")
	}
	// Its shape; that of a keyless one is known to programs built for it only.
	if _, err := verify.Known(data, f.Digest); err != nil && verify.Code(err) != verify.CodeKeyless {
		return err
	}
	if public != nil && !(&File{Head: verify.Head{Bundles: [][]byte{data}}}).SignedBy(public) {
		return fmt.Errorf("the key given did not make its signature")
	}
	if slices.ContainsFunc(f.Head.Bundles, func(b []byte) bool { return bytes.Equal(b, data) }) {
		return fmt.Errorf("the package has it already")
	}
	return f.add(data)
}

func (f *File) add(bundle []byte) error {
	next := f.Head
	if f.Unsigned() {
		next.Bundles = nil
	}
	next.Bundles = append(slices.Clone(next.Bundles), bundle)
	if err := checkHead(next); err != nil {
		return err
	}
	f.Head = next
	return nil
}

// AttachRoot adds a root, for devices that are behind it. Each must carry all
// signatures it needs.
func (f *File) AttachRoot(data []byte) error {
	root, err := verify.DraftRoot(data)
	if err != nil {
		return err
	}
	chain := &f.Head.VendorRoots
	if root.Terms().Kind == verify.KindFleet {
		chain = &f.Head.FleetRoots
	}
	for _, there := range *chain {
		other, err := verify.DraftRoot(there)
		if err != nil {
			return err
		}
		if other.Version() == root.Version() && !bytes.Equal(there, data) {
			return fmt.Errorf("the package has another root %d already", root.Version())
		}
		if other.Version() == root.Version() {
			return nil
		}
	}
	next := append(slices.Clone(*chain), data)
	slices.SortFunc(next, byVersion)
	if err := followsOn(next); err != nil {
		return err
	}
	*chain = next
	return checkHead(f.Head)
}

func byVersion(a, b []byte) int {
	version := func(data []byte) int64 {
		root, err := verify.DraftRoot(data)
		if err != nil {
			return 0 // only roots that were read are here
		}
		return root.Version()
	}
	return int(version(a) - version(b))
}

// followsOn asks for the signatures of a chain as a device asks that has its first root.
func followsOn(chain [][]byte) error {
	first, err := verify.ParseRoot(chain[0])
	if err != nil {
		return err
	}
	_, err = first.Follow(chain[1:])
	return err
}

// AttachOrder puts a fleet's order in. Another signature over the order that is
// there is added to it; another order takes its place.
func (f *File) AttachOrder(data []byte) error {
	_, payload, err := openBundle(data)
	if err != nil {
		return err
	}
	order, err := readOrder(payload)
	if err != nil {
		return err
	}
	if order.Package != f.Digest {
		return fmt.Errorf("the order is for the package %s, this one is %s", order.Package, f.Digest)
	}
	if len(f.Head.Orders) > 0 {
		if _, there, err := openBundle(f.Head.Orders[0]); err != nil || !bytes.Equal(there, payload) {
			f.Head.Orders = nil
		}
	}
	if !slices.ContainsFunc(f.Head.Orders, func(b []byte) bool { return bytes.Equal(b, data) }) {
		f.Head.Orders = append(f.Head.Orders, data)
	}
	return checkHead(f.Head)
}
