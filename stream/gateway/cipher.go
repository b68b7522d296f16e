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

// cipherChoice makes our order of ciphers hold. DTLS takes the first of the
// viewer's that it finds in the server's list, and Chromium names AES-CM first.
// So the list is cut to one cipher between the arrival of the viewer's hello and
// DTLS's reading of it: the best that the viewer knows. A hello that cannot be
// read leaves the list, and the viewer's order, alone.
type cipherChoice struct {
	list []dtls.SRTPProtectionProfile // shared with DTLS, which reads it after the first hello
	once sync.Once
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
	// Once, since DTLS may read the list from now on. If a handshake begins with
	// a hello in parts, it is not worth more.
	c.once.Do(func() {
		offered := offeredCiphers(pkt)
		for _, best := range c.list {
			if slices.Contains(offered, best) {
				for i := range c.list {
					c.list[i] = best
				}
				return
			}
		}
	})
}

// offeredCiphers reads the use_srtp extension (RFC 5764 §4.1.1) of a hello.
func offeredCiphers(pkt []byte) []dtls.SRTPProtectionProfile {
	records, err := recordlayer.UnpackDatagram(pkt)
	if err != nil || len(records) == 0 {
		return nil
	}
	var r recordlayer.RecordLayer
	if r.Unmarshal(records[0]) != nil {
		return nil
	}
	h, ok := r.Content.(*handshake.Handshake)
	if !ok {
		return nil
	}
	hello, ok := h.Message.(*handshake.MessageClientHello)
	if !ok {
		return nil
	}
	for _, e := range hello.Extensions {
		if u, ok := e.(*extension.UseSRTP); ok {
			return u.ProtectionProfiles
		}
	}
	return nil
}
