package gateway

import (
	"slices"
	"sync"

	"github.com/pion/dtls/v2"
	"github.com/pion/dtls/v2/pkg/protocol/extension"
	"github.com/pion/dtls/v2/pkg/protocol/handshake"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
)

// First bytes of DTLS records (RFC 6347 §4.1).
const (
	recordCipherChange = 20
	recordHandshake    = 22
)

// maxHello bounds a viewer's hello. Chromium's is 1.4 KiB, in two parts.
const maxHello = 8 << 10

// cipherChoice makes our order of ciphers hold. DTLS takes the first of the
// viewer's that it finds in the server's list, and Chromium names AES-CM first.
// So the list is cut to one cipher between the arrival of the viewer's hello and
// DTLS's reading of it: the best that the viewer knows. A hello that cannot be
// read leaves the list, and the viewer's order, alone.
type cipherChoice struct {
	// list is shared with DTLS, which reads it once it has the whole first hello.
	list []dtls.SRTPProtectionProfile

	mu    sync.Mutex
	hello []byte // of the first hello's body, what has come
	done  bool   // DTLS may read the list from now on
}

func newCipherChoice() *cipherChoice {
	c := &cipherChoice{}
	for _, p := range profiles {
		c.list = append(c.list, p.dtls)
	}
	return c
}

// see is shown every datagram from the viewer before DTLS is.
func (c *cipherChoice) see(pkt []byte) {
	if len(pkt) == 0 || pkt[0] != recordHandshake {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return
	}
	records, err := recordlayer.UnpackDatagram(pkt)
	c.done = err != nil
	for _, r := range records {
		if !c.done {
			c.done = c.part(r[recordlayer.HeaderSize:])
		}
	}
}

// part takes a part of the hello and reports true when there is no more to do:
// the choice is made, or the parts do not follow each other.
func (c *cipherChoice) part(body []byte) bool {
	var h handshake.Header
	if h.Unmarshal(body) != nil || h.Type != handshake.TypeClientHello || h.MessageSequence != 0 || h.Length > maxHello {
		return true
	}
	body = body[handshake.HeaderLength:]
	offset, end := int(h.FragmentOffset), int(h.FragmentOffset+h.FragmentLength)
	switch {
	case len(body) != int(h.FragmentLength) || offset > len(c.hello) || end > int(h.Length):
		return true
	case end > len(c.hello):
		c.hello = append(c.hello[:offset], body...)
	}
	if len(c.hello) < int(h.Length) {
		return false
	}
	c.choose(offeredCiphers(c.hello))
	return true
}

func (c *cipherChoice) choose(offered []dtls.SRTPProtectionProfile) {
	for _, best := range c.list {
		if slices.Contains(offered, best) {
			for i := range c.list {
				c.list[i] = best
			}
			return
		}
	}
}

// offeredCiphers reads the use_srtp extension (RFC 5764 §4.1.1) of a hello.
func offeredCiphers(hello []byte) []dtls.SRTPProtectionProfile {
	var m handshake.MessageClientHello
	if m.Unmarshal(hello) != nil {
		return nil
	}
	for _, e := range m.Extensions {
		if u, ok := e.(*extension.UseSRTP); ok {
			return u.ProtectionProfiles
		}
	}
	return nil
}
