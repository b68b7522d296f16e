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
	known map[keyName]bool
	ring  [rememberedKeys]keyName
	next  int
}

type keyName [16]byte

func nameKey(s *handover.SRTP) (name keyName) {
	sum := sha256.Sum256(append(append([]byte(nil), s.LocalKey...), s.LocalSalt...))
	copy(name[:], sum[:])
	return name
}

func (u *usedKeys) has(name keyName) bool { return u.known[name] }

func (u *usedKeys) add(name keyName) {
	if u.known == nil {
		u.known = make(map[keyName]bool)
	}
	delete(u.known, u.ring[u.next])
	u.ring[u.next] = name
	u.next = (u.next + 1) % len(u.ring)
	u.known[name] = true
}
