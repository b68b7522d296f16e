package pack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"slipstream/verify"
)

// SignOrder signs a fleet's order. What a device would refuse for its own sake is
// not signed.
func SignOrder(ctx context.Context, s *Signer, o verify.Order) ([]byte, error) {
	o.Format = verify.OrderFormat
	o.IssuedAt, o.Expires = o.IssuedAt.UTC().Truncate(time.Second), o.Expires.UTC().Truncate(time.Second)
	if err := o.Validate(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(o.Statement())
	if err != nil {
		return nil, fmt.Errorf("encode order: %w", err)
	}
	return s.Bundle(ctx, payload)
}

// CosignOrder signs what an order's file says, once more with another key.
func CosignOrder(ctx context.Context, s *Signer, file []byte) ([]byte, error) {
	_, payload, err := openBundle(file)
	if err != nil {
		return nil, err
	}
	if _, err := readOrder(payload); err != nil {
		return nil, err
	}
	if (&File{Head: verify.Head{Bundles: [][]byte{file}}}).SignedBy(s.public) {
		return nil, fmt.Errorf("key %s has signed this order already", s.id)
	}
	return s.Bundle(ctx, payload)
}

// SignTime signs a fleet's word what time it is. Several keys that must sign it sign
// the same second.
func SignTime(ctx context.Context, s *Signer, at time.Time) ([]byte, error) {
	payload, err := json.Marshal(verify.Freshness{Format: verify.FreshnessFormat, Time: at.UTC().Truncate(time.Second)})
	if err != nil {
		return nil, fmt.Errorf("encode the time: %w", err)
	}
	return s.bundle(ctx, verify.FreshnessPayloadType, payload)
}

// readOrder reads an order that nobody's signature was asked for.
func readOrder(payload []byte) (verify.Order, error) {
	var s verify.OrderStatement
	if err := json.Unmarshal(payload, &s); err != nil || s.PredicateType != verify.OrderType || len(s.Subject) != 1 {
		return verify.Order{}, fmt.Errorf("it is not a fleet order")
	}
	o := s.Predicate
	o.Package, o.Digest = s.Subject[0].Digest.SHA256, sum(payload)
	return o, o.Validate()
}

// MaySign says whether a role of a root names a key: [verify.Root.Trust] or
// [verify.Root.Freshness].
func (s *Signer) MaySign(t *verify.Trust) bool { return t != nil && slices.Contains(t.KeyIDs(), s.id) }

// ReadOrder reads an order's file, and asks nobody's signature.
func ReadOrder(file []byte) (verify.Order, error) {
	_, payload, err := openBundle(file)
	if err != nil {
		return verify.Order{}, err
	}
	return readOrder(payload)
}
