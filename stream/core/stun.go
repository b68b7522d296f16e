package core

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"math/rand/v2"
	"net/netip"

	"slipstream/stream/handover"
)

// What a lite ICE agent needs of STUN (RFC 8489). Message types, attributes and
// sizes; all else is skipped, as its extensions are the viewer's to live without.
const (
	stunHeader  = 20
	stunCookie  = 0x2112a442
	stunRequest = 0x0001
	stunSuccess = 0x0101
	stunSilence = 0x0011 // a binding indication

	attrUsername    = 0x0006
	attrIntegrity   = 0x0008
	attrMapped      = 0x0020 // XOR-MAPPED-ADDRESS
	attrFingerprint = 0x8028

	fingerprintXOR  = 0x5354554e
	fingerprintSize = 4 + 4
	integritySize   = 4 + sha1.Size
	maxAnswer       = stunHeader + 4 + 20 + integritySize + fingerprintSize
)

// iceLite answers one viewer's connectivity and consent checks (RFC 8445 §7.3,
// RFC 7675) as the lite side: it never asks anything itself. It is written here
// because the library brings DTLS along and allocates for every message.
type iceLite struct {
	username string    // what the viewer must say: "local:remote"
	mac      hash.Hash // under the local password
	sum      [sha1.Size]byte
	size     [2]byte
	out      [maxAnswer]byte
}

func newICELite(ice handover.ICE) iceLite {
	return iceLite{
		username: ice.LocalUfrag + ":" + ice.RemoteUfrag,
		mac:      hmac.New(sha1.New, []byte(ice.LocalPwd)),
	}
}

// authentic says that msg is a binding request that was made with this session's
// user name and password, and arrived whole.
func (i *iceLite) authentic(msg []byte) bool {
	if len(msg) < stunHeader || binary.BigEndian.Uint16(msg) != stunRequest ||
		int(binary.BigEndian.Uint16(msg[2:])) != len(msg)-stunHeader ||
		binary.BigEndian.Uint32(msg[4:]) != stunCookie {
		return false
	}
	named, signed := false, 0
	for at := stunHeader; len(msg)-at >= 4; {
		kind, n := binary.BigEndian.Uint16(msg[at:]), int(binary.BigEndian.Uint16(msg[at+2:]))
		next := at + 4 + (n+3)&^3
		if next > len(msg) {
			return false
		}
		value := msg[at+4 : at+4+n]
		switch {
		case kind == attrFingerprint: // it comes last
			return named && signed > 0 && next == len(msg) && n == 4 &&
				binary.BigEndian.Uint32(value) == fingerprint(msg[:at]) && i.signed(msg, signed)
		case signed > 0: // nothing else counts that was not signed
		case kind == attrUsername:
			named = string(value) == i.username
		case kind == attrIntegrity:
			if n != sha1.Size {
				return false
			}
			signed = at
		}
		at = next
	}
	return false
}

// signed checks the MESSAGE-INTEGRITY attribute that lies at a place of msg.
func (i *iceLite) signed(msg []byte, at int) bool {
	return hmac.Equal(i.sign(msg[:at]), msg[at+4:at+integritySize])
}

// sign is the integrity of a message up to where its attribute begins. The
// length in its header counts that attribute in and what follows out (RFC 8489
// §14.5). It is valid until the next call.
func (i *iceLite) sign(msg []byte) []byte {
	binary.BigEndian.PutUint16(i.size[:], uint16(len(msg)-stunHeader+integritySize))
	i.mac.Reset()
	i.mac.Write(msg[:2])
	i.mac.Write(i.size[:])
	i.mac.Write(msg[4:])
	return i.mac.Sum(i.sum[:0])
}

func fingerprint(msg []byte) uint32 { return crc32.ChecksumIEEE(msg) ^ fingerprintXOR }

// answer is the success response to an authentic request from an address. It is
// valid until the next call.
func (i *iceLite) answer(request []byte, from netip.AddrPort) []byte {
	out := binary.BigEndian.AppendUint16(i.out[:0], stunSuccess)
	out = append(out, 0, 0)
	out = append(out, request[4:stunHeader]...) // cookie and transaction
	out = appendMapped(out, request[4:stunHeader], from)

	sum := i.sign(out)
	out = binary.BigEndian.AppendUint16(out, attrIntegrity)
	out = binary.BigEndian.AppendUint16(out, sha1.Size)
	out = append(out, sum...)

	return appendFingerprint(out)
}

func appendFingerprint(out []byte) []byte {
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)-stunHeader+fingerprintSize))
	crc := fingerprint(out)
	out = binary.BigEndian.AppendUint16(out, attrFingerprint)
	out = binary.BigEndian.AppendUint16(out, 4)
	return binary.BigEndian.AppendUint32(out, crc)
}

// indication is a message that wants no answer. It is valid until the next call.
func (i *iceLite) indication() []byte {
	out := binary.BigEndian.AppendUint16(i.out[:0], stunSilence)
	out = append(out, 0, 0)
	out = binary.BigEndian.AppendUint32(out, stunCookie)
	out = binary.BigEndian.AppendUint64(out, rand.Uint64())
	out = binary.BigEndian.AppendUint32(out, rand.Uint32())
	return appendFingerprint(out)
}

// appendMapped adds the XOR-MAPPED-ADDRESS (RFC 8489 §14.2); mask is the
// message's cookie and transaction.
func appendMapped(out, mask []byte, from netip.AddrPort) []byte {
	ip4, ip6 := [4]byte{}, from.Addr().As16()
	ip, family := ip6[:], byte(2)
	if from.Addr().Is4() {
		ip4 = from.Addr().As4()
		ip, family = ip4[:], 1
	}
	out = binary.BigEndian.AppendUint16(out, attrMapped)
	out = binary.BigEndian.AppendUint16(out, uint16(4+len(ip)))
	out = append(out, 0, family)
	out = binary.BigEndian.AppendUint16(out, from.Port()^stunCookie>>16)
	for n, b := range ip {
		out = append(out, b^mask[n])
	}
	return out
}
