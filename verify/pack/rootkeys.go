package pack

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"slipstream/verify"
)

// RootKey is a key of a root, as people look at it.
type RootKey struct {
	ID     string   // see [verify.KeyID]
	Roles  []string // here
	Former bool     // it is a root key of the root before, and none here
	Signed bool
}

// Need says how many root keys of one root have signed, of those that must.
type Need struct {
	Version       int64 // of the root whose keys are asked
	Signed, Asked int
}

// Missing is how many signatures are still to come.
func (n Need) Missing() int { return max(n.Asked-n.Signed, 0) }

// RootStatus is what is done and what is still to do for a root.
type RootStatus struct {
	Keys  []RootKey
	Needs []Need // this root's own, and that of the one before it
	Alone bool   // the root before was not given: what it asks for is not known
}

// Complete says that devices will take the root.
func (s RootStatus) Complete() bool {
	return !s.Alone && !slices.ContainsFunc(s.Needs, func(n Need) bool { return n.Missing() > 0 })
}

// Status compares signatures with keys. The root before is nil for the first one,
// or if it is not at hand.
func (r *Root) Status(before *Root) (RootStatus, error) {
	if before != nil && (before.Version() != r.Version()-1 || before.terms.Kind != r.terms.Kind) {
		return RootStatus{}, fmt.Errorf("%s does not come before %s", before.FileName(), r.FileName())
	}
	text, err := r.canonical()
	if err != nil {
		return RootStatus{}, err
	}
	status := RootStatus{Alone: before == nil && r.Version() > 1}
	for _, id := range r.names() {
		key, err := r.key(id)
		if err != nil {
			return RootStatus{}, err
		}
		k := RootKey{ID: key.id, Signed: r.signed(id, key.public, text)}
		for _, role := range Roles(r.terms.Kind) {
			if there, _, err := r.role(role); err == nil && slices.Contains(there.KeyIDs, id) {
				k.Roles = append(k.Roles, role)
			}
		}
		status.Keys = append(status.Keys, k)
	}
	needs := []*Root{r}
	if before != nil {
		needs = append(needs, before)
	}
	for _, root := range needs {
		need, former, err := r.need(root, text)
		if err != nil {
			return RootStatus{}, err
		}
		status.Needs = append(status.Needs, need)
		status.Keys = append(status.Keys, former...)
	}
	return status, nil
}

// need asks the root keys of this root or of the one before for their signatures.
func (r *Root) need(root *Root, text []byte) (need Need, former []RootKey, err error) {
	there, _, err := root.role(RoleRoot)
	if err != nil {
		return need, nil, err
	}
	need = Need{Version: root.Version(), Asked: there.Threshold}
	for _, id := range there.KeyIDs {
		key, err := root.key(id)
		if err != nil {
			return need, nil, err
		}
		signed := r.signed(id, key.public, text)
		if signed {
			need.Signed++
		}
		if own, _, err := r.role(RoleRoot); err == nil && !slices.Contains(own.KeyIDs, id) {
			former = append(former, RootKey{ID: key.id, Former: true, Signed: signed})
		}
	}
	return need, former, nil
}

// names lists the keys by TUF's ids, in a fixed order.
func (r *Root) names() []string {
	var ids []string
	for id := range r.meta.Signed.Keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

type publicKey struct {
	public *ecdsa.PublicKey
	id     string
}

func (r *Root) key(tufID string) (publicKey, error) {
	public, err := r.meta.Signed.Keys[tufID].ToPublicKey()
	if err != nil {
		return publicKey{}, fmt.Errorf("read key of root %d: %w", r.Version(), err)
	}
	key, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return publicKey{}, errors.New("a key of the root is not ECDSA P-256")
	}
	id, err := verify.KeyID(key)
	return publicKey{key, id}, err
}

func (r *Root) signed(tufID string, public *ecdsa.PublicKey, text []byte) bool {
	for _, sig := range r.meta.Signatures {
		if sig.KeyID == tufID {
			return signs(public, text, sig.Signature)
		}
	}
	return false
}

// KeyByID finds a key by its id, as it is shown, or by the beginning of it.
func (r *Root) KeyByID(id string) (*ecdsa.PublicKey, error) {
	var found *ecdsa.PublicKey
	for _, name := range r.names() {
		key, err := r.key(name)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(key.id, id) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("more than one key of the root begins with %s", id)
		}
		found = key.public
	}
	if found == nil {
		return nil, fmt.Errorf("%s is neither a key file nor the id of a key of this root", id)
	}
	return found, nil
}

// Print shows a root to people.
func (r *Root) Print(out io.Writer, before *Root) error {
	status, err := r.Status(before)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s's root %d, expires %s\n", r.terms.Kind, r.Version(), r.Expires().Format(time.DateOnly))
	r.printTerms(w)
	for _, role := range Roles(r.terms.Kind) {
		there, _, err := r.role(role)
		if err != nil {
			return err
		}
		if len(there.KeyIDs) > 0 {
			fmt.Fprintf(w, "%s\t%d of %d keys must sign\n", role, there.Threshold, len(there.KeyIDs))
		}
	}
	fmt.Fprintln(w, "\nkey\troles\tsigned this root")
	for _, k := range status.Keys {
		roles := strings.Join(k.Roles, ", ")
		if k.Former {
			roles = fmt.Sprintf("root, in root %d only", r.Version()-1)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", k.ID, roles, map[bool]string{true: "yes", false: "-"}[k.Signed])
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	return status.print(out, r)
}

func (r *Root) printTerms(w io.Writer) {
	t := r.terms
	if t.SecurityEpoch > 0 {
		fmt.Fprintf(w, "security epoch\t%d\n", t.SecurityEpoch)
	}
	var products []string
	for product := range t.Counters {
		products = append(products, product)
	}
	slices.Sort(products)
	for _, product := range products {
		fmt.Fprintf(w, "lowest release\t%s: %d\n", product, t.Counters[product])
	}
	for _, digest := range t.Revoked {
		fmt.Fprintf(w, "taken back\t%s\n", digest)
	}
	if t.Keyless != nil {
		for _, i := range t.Keyless.Identities {
			fmt.Fprintf(w, "without a key\t%s, by %s\n", i.Subject, i.Issuer)
		}
	}
	if t.Offline != "" {
		fmt.Fprintf(w, "without an order\t%s\n", map[string]string{
			verify.OfflineOrder:   "packages on a stick are refused",
			verify.OfflineRelease: "packages on a stick need the vendor's signature only",
		}[t.Offline])
	}
}

// print says what is still missing.
func (s RootStatus) print(w io.Writer, r *Root) error {
	for _, n := range s.Needs {
		whose := "its own root keys"
		if n.Version != r.Version() {
			whose = fmt.Sprintf("the root keys of root %d", n.Version)
		}
		line := fmt.Sprintf("signed by %d of the %d of %s that must sign", n.Signed, n.Asked, whose)
		if n.Missing() > 0 {
			line += fmt.Sprintf(": %d missing", n.Missing())
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	switch {
	case s.Alone:
		_, err := fmt.Fprintf(w, "root %d was not given (--before %s): whether enough of its keys have signed is not known\n", r.Version()-1, r.Before())
		return err
	case s.Complete():
		_, err := fmt.Fprintln(w, "complete: devices will take it")
		return err
	}
	return nil
}
