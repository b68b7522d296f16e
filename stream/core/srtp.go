package core

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"slipstream/stream/handover"
)

// srtp is one direction of a session: all that one master key protects. It
// allocates nothing after it was made. A caller gives each packet index to one
// packet only; the same index with the same header and payload gives the same
// bytes again, which is how packets are resent.
type srtp interface {
	// sealRTP appends the protected packet to dst. Index is the rollover counter
	// and the sequence number (RFC 3711 §3.3.1); head holds the latter, too.
	sealRTP(dst, head, payload []byte, index uint64) []byte
	// sealRTCP appends the protected compound packet to dst.
	sealRTCP(dst, pkt []byte, index uint32) []byte
	// openRTCP appends what a packet protects to dst. It reports false for a
	// packet that this key did not seal, and for one that is not encrypted.
	openRTCP(dst, pkt []byte) (plain []byte, index uint32, ok bool)
}

const (
	rtcpHeader  = 8 // with the sender's SSRC, RFC 3711 §3.4: never encrypted
	srtcpIndex  = 4
	srtcpSealed = 1 << 31 // the E bit

	// srtpOverhead is the most that sealing adds to a packet.
	srtpOverhead = 16 + srtcpIndex
)

// newSRTP makes the session keys of a master key (RFC 3711 §4.3).
func newSRTP(profile string, key, salt []byte) (srtp, error) {
	want, saltSize := 16, 12
	switch profile {
	case handover.AES256:
		want = 32
	case handover.AES128CM:
		saltSize = 14
	case handover.AES128:
	default:
		return nil, fmt.Errorf("SRTP profile %q is not supported", profile)
	}
	if len(key) != want || len(salt) != saltSize {
		return nil, fmt.Errorf("SRTP profile %s takes %d bytes of key and %d of salt, not %d and %d",
			profile, want, saltSize, len(key), len(salt))
	}
	master, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if profile == handover.AES128CM {
		return newCounterSRTP(master, salt)
	}
	return newGCM(master, salt, want)
}

// Labels of the session keys, RFC 3711 §4.3.2.
const (
	labelRTP  = 0
	labelRTCP = 3

	labelKey  = 0
	labelAuth = 1
	labelSalt = 2
)

// derive makes one session key of n bytes (RFC 3711 §4.3.1, key derivation rate 0).
func derive(master cipher.Block, salt []byte, label byte, n int) []byte {
	var in [aes.BlockSize]byte
	copy(in[:], salt)
	in[7] ^= label
	out := make([]byte, (n+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	for i := 0; i < len(out); i += aes.BlockSize {
		binary.BigEndian.PutUint16(in[14:], uint16(i/aes.BlockSize))
		master.Encrypt(out[i:], in[:])
	}
	return out[:n]
}
