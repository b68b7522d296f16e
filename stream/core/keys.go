package core

import (
	"crypto/sha256"

	"slipstream/stream/handover"
)

// rememberedKeys is how many sessions back a key is known again.
const rememberedKeys = 4096

// usedKeys knows the keys that the core has sealed with. A session that is handed
// over a second time would use its packet indices a second time.
type usedKeys struct {
	*keyRing
	known map[keyName]bool
}

// keyRing is what is remembered, as plain data.
type keyRing struct {
	names [rememberedKeys]keyName
	next  uint64
}

func newUsedKeys(ring *keyRing) usedKeys {
	u := usedKeys{keyRing: ring, known: make(map[keyName]bool)}
	for _, name := range ring.names {
		if name != (keyName{}) {
			u.known[name] = true
		}
	}
	return u
}

type keyName [16]byte

func nameKey(s *handover.SRTP) (name keyName) {
	sum := sha256.Sum256(append(append([]byte(nil), s.LocalKey...), s.LocalSalt...))
	copy(name[:], sum[:])
	return name
}

func (u *usedKeys) has(name keyName) bool { return u.known[name] }

func (u *usedKeys) add(name keyName) {
	at := &u.names[u.next%rememberedKeys]
	delete(u.known, *at)
	*at = name
	u.next++
	u.known[name] = true
}
