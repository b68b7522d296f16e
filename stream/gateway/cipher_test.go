package gateway

import (
	"testing"

	"github.com/pion/dtls/v2"
	"github.com/pion/dtls/v2/pkg/protocol"
	"github.com/pion/dtls/v2/pkg/protocol/extension"
	"github.com/pion/dtls/v2/pkg/protocol/handshake"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
)

// helloRecord makes a record with the bytes from one place to another of a hello
// that offers ciphers.
func helloRecord(t *testing.T, from, to int, ciphers ...dtls.SRTPProtectionProfile) []byte {
	t.Helper()
	m := handshake.MessageClientHello{
		Version: protocol.Version1_2, CipherSuiteIDs: []uint16{0xc02b}, CompressionMethods: []*protocol.CompressionMethod{{}},
		Extensions: []extension.Extension{&extension.UseSRTP{ProtectionProfiles: ciphers}},
	}
	body, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if to < 0 {
		to = len(body)
	}
	h := handshake.Header{
		Type: handshake.TypeClientHello, Length: uint32(len(body)),
		FragmentOffset: uint32(from), FragmentLength: uint32(to - from),
	}
	head, err := h.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r := recordlayer.Header{
		ContentType: protocol.ContentTypeHandshake, Version: protocol.Version1_0,
		ContentLen: uint16(len(head) + to - from),
	}
	outer, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append(append(outer, head...), body[from:to]...)
}

// Chromium's hello comes in two parts.
func TestCipherChoice(t *testing.T) {
	t.Parallel()
	const cm, gcm128, gcm256 = dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM
	part := func(from, to int) []byte { return helloRecord(t, from, to, cm, gcm256, gcm128) }
	for _, c := range []struct {
		name   string
		pkts   [][]byte
		chosen bool
	}{
		{"whole", [][]byte{part(0, -1)}, true},
		{"in two datagrams", [][]byte{part(0, 30), part(30, -1)}, true},
		{"in two records", [][]byte{append(part(0, 30), part(30, -1)...)}, true},
		{"a part again", [][]byte{part(0, 30), part(0, 30), part(30, -1)}, true},
		{"parts that overlap", [][]byte{part(0, 30), part(20, -1)}, true},
		{"after something else", [][]byte{{0, 1, 2}, {}, part(0, -1)}, true},
		{"a part that is missing", [][]byte{part(0, 30), part(31, -1), part(0, -1)}, false},
		{"the second part first", [][]byte{part(30, -1), part(0, 30)}, false},
		{"garbage first", [][]byte{{recordHandshake, 1, 2}, part(0, -1)}, false},
		{"ciphers that we do not take", [][]byte{helloRecord(t, 0, -1, dtls.SRTP_NULL_HMAC_SHA1_80)}, false},
	} {
		choice := newCipherChoice()
		for _, pkt := range c.pkts {
			choice.see(pkt)
		}
		got := choice.list[0] == gcm128 && choice.list[1] == gcm128 && choice.list[2] == gcm128
		if got != c.chosen {
			t.Errorf("%s: list %v", c.name, choice.list)
		}
	}
}
