package verify

import (
	"slices"
	"time"
)

// Types of what a fleet signs. An order is an in-toto Statement like a release,
// so that the same tools sign it; the time is not about any file.
const (
	OrderType            = "urn:slipstream:order:v1" // predicateType
	OrderSubject         = "package"                 // name of an order's one subject
	OrderFormat          = 1
	FreshnessPayloadType = "application/vnd.slipstream.freshness+json"
	FreshnessFormat      = 1
)

var (
	orderWords     = wording{"the fleet order", "the fleet order", CodeOrderSigner}
	freshnessWords = wording{"the statement of the time", "the statement of the time", CodeFreshness}
)

// Order is a fleet's signed word that certain devices may run one package. It
// chooses among releases; it makes none. Exactly one of Devices, Hardware and All
// says whom it is for.
type Order struct {
	Format   int       `json:"format"` // 1
	Devices  []string  `json:"devices,omitempty"`
	Hardware []string  `json:"hardware,omitempty"` // every device of these
	All      bool      `json:"all,omitempty"`      // every device of the fleet
	Sequence int64     `json:"sequence"`           // counted up by the fleet, over all its orders
	IssuedAt time.Time `json:"issuedAt"`
	Expires  time.Time `json:"expires"`

	Package string `json:"-"` // digest of the package: the statement's subject
	Digest  string `json:"-"` // of the signed statement: the order's own name
}

// OrderStatement is the signed document of an [Order].
type OrderStatement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Order     `json:"predicate"`
}

// Statement returns the statement that an order is signed in.
func (o Order) Statement() OrderStatement {
	return OrderStatement{
		Type: StatementType, PredicateType: OrderType, Predicate: o,
		Subject: []Subject{{Name: OrderSubject, Digest: Digests{SHA256: o.Package}}},
	}
}

// Validate checks every value of an order. [ParseOrder] has done it; who signs one
// does it before.
func (o *Order) Validate() error {
	whom := 0
	for _, named := range []bool{len(o.Devices) > 0, len(o.Hardware) > 0, o.All} {
		if named {
			whom++
		}
	}
	sane := func(t time.Time) bool { return t.Year() >= minYear && t.Year() <= maxYear }
	switch {
	case o.Format != OrderFormat:
		return badOrder("its format is %d, not %d", o.Format, OrderFormat)
	case whom != 1:
		return badOrder("it must be for devices, for hardware or for all, and for one of these only")
	case len(o.Devices) > MaxOrderDevices || len(o.Hardware) > MaxHardware:
		return badOrder("it names more than %d devices or %d kinds of hardware", MaxOrderDevices, MaxHardware)
	case o.Sequence < 1:
		return badOrder("its sequence is %d, it must be at least 1", o.Sequence)
	case !sane(o.IssuedAt) || !sane(o.Expires) || !o.Expires.After(o.IssuedAt):
		return badOrder("its times are missing, out of range, or it expires before it was issued")
	case !isSHA256(o.Package):
		return badOrder("its subject is not the digest of a package")
	}
	for _, names := range [][]string{o.Devices, o.Hardware} {
		if i := slices.IndexFunc(names, func(n string) bool { return !isName(n) }); i >= 0 {
			return badOrder("%s is not a name", quote(names[i]))
		}
	}
	return nil
}

func badOrder(format string, args ...any) error {
	return refuse(CodeOrder, "the fleet order is not valid: "+format, args...)
}

// ParseOrder reads an order out of its signature files, and asks the fleet's keys.
// Whether it is for this device, this package and now, [Fleet] judges.
func ParseOrder(bundles [][]byte, root *Root) (*Order, error) {
	envelopes, err := parseBundles(orderWords, PayloadType, bundles)
	if err != nil {
		return nil, err
	}
	s, err := checkSignatures(orderWords, envelopes, root.release)
	if err != nil {
		return nil, err
	}
	return parseOrder(s.payload)
}

func parseOrder(payload []byte) (*Order, error) {
	const what = "the fleet order"
	if err := scanJSON(what, payload, nil); err != nil {
		return nil, err
	}
	format, err := checkType(what, OrderType, payload)
	if err != nil {
		return nil, err
	}
	if format > OrderFormat {
		return nil, refuse(CodeNewerFormat, "the fleet order has format %d, this software reads only format %d: update it first", format, OrderFormat)
	}
	var s OrderStatement
	if err := decodeStrict(what, payload, &s); err != nil {
		return nil, err
	}
	if len(s.Subject) != 1 || s.Subject[0].Name != OrderSubject {
		return nil, badOrder("it must have one subject, %q", OrderSubject)
	}
	o := s.Predicate
	o.Package, o.Digest = s.Subject[0].Digest.SHA256, digest(payload)
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &o, nil
}

// Fleet is what a device that belongs to one knows of it.
type Fleet struct {
	Root *Root
	// Sequence is that of the newest order that this device obeyed, 0 if none;
	// Newest is that order's digest.
	Sequence int64
	Newest   string
	// Linked says that the package comes by the fleet's link. Then an order is
	// needed whatever the fleet's policy for packages on a stick is.
	Linked bool
	// Roots and Orders came by the link, beside the package: roots that follow
	// Root, and the signature files of one order. They stand in for the package's own.
	Roots  [][]byte
	Orders [][]byte
}

// allow asks the fleet whether the device may run a package. The order must be
// right whenever there is one: a stick from which it was taken is another thing,
// for which the fleet has its policy.
func (f *Fleet) allow(root *Root, orders [][]byte, pkg string, dev Device) (*Order, error) {
	if len(f.Orders) > 0 {
		orders = f.Orders
	}
	if len(orders) == 0 {
		if !f.Linked && root.terms.Offline == OfflineRelease {
			return nil, nil
		}
		return nil, refuse(CodeNoOrder, "this device belongs to a fleet, and the package comes without the fleet's order")
	}
	o, err := ParseOrder(orders, root)
	if err != nil {
		return nil, err
	}
	forgotten := f.Root != root && f.Root.SignersWithdrawn(root)
	switch {
	case !o.isFor(dev):
		return nil, refuse(CodeOrderForeign, "the fleet order is for other devices than %s", quote(dev.ID))
	case o.Package != pkg:
		return nil, refuse(CodeOrderPackage, "the fleet order is for another package")
	case o.Sequence < f.Sequence && !forgotten:
		return nil, refuse(CodeOrderOlder, "the fleet order %d is older than order %d, which this device obeyed", o.Sequence, f.Sequence)
	case o.Sequence == f.Sequence && o.Digest != f.Newest && !forgotten:
		return nil, refuse(CodeOrderReplayed, "the fleet order has the number %d of another order, which this device obeyed", o.Sequence)
	case dev.Time.After(o.Expires):
		return nil, refuse(CodeOrderExpired, "the fleet order expired on %s: ask the fleet for a new one", day(o.Expires))
	}
	return o, nil
}

func (o *Order) isFor(dev Device) bool {
	return o.All || slices.Contains(o.Devices, dev.ID) || slices.Contains(o.Hardware, dev.Hardware)
}

// Freshness is a fleet's word what time it is. It moves a device's secure time
// forward, and nothing else does while the device belongs to the fleet.
type Freshness struct {
	Format int       `json:"format"` // 1
	Time   time.Time `json:"time"`
}

// ParseFreshness reads a statement of the time, and asks the fleet's freshness
// keys. The time it returns is not after the root's expiry: a stolen key can push
// a device's clock so far and no further. An old statement is worth as much as on
// the day when it was made.
func ParseFreshness(bundles [][]byte, root *Root) (time.Time, error) {
	const what = "the statement of the time"
	envelopes, err := parseBundles(freshnessWords, FreshnessPayloadType, bundles)
	if err != nil {
		return time.Time{}, err
	}
	s, err := checkSignatures(freshnessWords, envelopes, root.freshness)
	if err != nil {
		return time.Time{}, err
	}
	var f Freshness
	if err := decodeStrict(what, s.payload, &f); err != nil {
		return time.Time{}, err
	}
	switch {
	case f.Format > FreshnessFormat:
		return time.Time{}, refuse(CodeNewerFormat, "%s has format %d, this software reads only format %d", what, f.Format, FreshnessFormat)
	case f.Format != FreshnessFormat || f.Time.Year() < minYear || f.Time.Year() > maxYear:
		return time.Time{}, refuse(CodeFreshness, "%s has format %d or a year that cannot be", what, f.Format)
	case f.Time.After(root.expires):
		return root.expires, nil
	}
	return f.Time, nil
}
