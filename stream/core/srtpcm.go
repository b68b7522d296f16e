package core

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

const cmTag = 10

// counterSRTP is SRTP_AES128_CM_HMAC_SHA1_80 (RFC 3711 §4.1.1, §4.2.1). The
// counter mode is done block by block here because cipher.NewCTR allocates for
// every packet.
type counterSRTP struct {
	rtp, rtcp counterKeys
	counter   [aes.BlockSize]byte
	stream    [aes.BlockSize]byte
	sum       [sha1.Size]byte
	word      [4]byte
}

type counterKeys struct {
	block cipher.Block
	mac   hash.Hash
	salt  [14]byte
}

func newCounterSRTP(master cipher.Block, salt []byte) (*counterSRTP, error) {
	s := &counterSRTP{}
	for label, k := range map[byte]*counterKeys{labelRTP: &s.rtp, labelRTCP: &s.rtcp} {
		var err error
		if k.block, err = aes.NewCipher(derive(master, salt, label+labelKey, 16)); err != nil {
			return nil, err
		}
		k.mac = hmac.New(sha1.New, derive(master, salt, label+labelAuth, 20))
		copy(k.salt[:], derive(master, salt, label+labelSalt, len(k.salt)))
	}
	return s, nil
}

// crypt appends src under the key stream of one packet to dst.
func (s *counterSRTP) crypt(k *counterKeys, dst, src, ssrc []byte, index uint64) []byte {
	n := &s.counter
	clear(n[:])
	copy(n[4:8], ssrc)
	binary.BigEndian.PutUint32(n[8:], uint32(index>>16))
	binary.BigEndian.PutUint16(n[12:], uint16(index))
	for i := range k.salt {
		n[i] ^= k.salt[i]
	}
	at := len(dst)
	dst = append(dst, src...)
	for block := uint16(0); at < len(dst); block++ {
		binary.BigEndian.PutUint16(n[14:], block)
		k.block.Encrypt(s.stream[:], n[:])
		at += subtle.XORBytes(dst[at:], dst[at:], s.stream[:])
	}
	return dst
}

// tag is the authentication tag over data and, for RTP, the rollover counter.
// It is valid until the next call.
func (s *counterSRTP) tag(k *counterKeys, data, rollover []byte) []byte {
	k.mac.Reset()
	k.mac.Write(data)
	k.mac.Write(rollover)
	return k.mac.Sum(s.sum[:0])[:cmTag]
}

func (s *counterSRTP) sealRTP(dst, head, payload []byte, index uint64) []byte {
	at := len(dst)
	dst = s.crypt(&s.rtp, append(dst, head...), payload, head[8:12], index)
	binary.BigEndian.PutUint32(s.word[:], uint32(index>>16))
	return append(dst, s.tag(&s.rtp, dst[at:], s.word[:])...)
}

func (s *counterSRTP) sealRTCP(dst, pkt []byte, index uint32) []byte {
	at := len(dst)
	index &^= srtcpSealed
	dst = s.crypt(&s.rtcp, append(dst, pkt[:rtcpHeader]...), pkt[rtcpHeader:], pkt[4:8], uint64(index))
	dst = binary.BigEndian.AppendUint32(dst, index|srtcpSealed)
	return append(dst, s.tag(&s.rtcp, dst[at:], nil)...)
}

func (s *counterSRTP) openRTCP(dst, pkt []byte) (plain []byte, index uint32, ok bool) {
	if len(pkt) < rtcpHeader+srtcpIndex+cmTag {
		return nil, 0, false
	}
	signed, tag := pkt[:len(pkt)-cmTag], pkt[len(pkt)-cmTag:]
	if !hmac.Equal(s.tag(&s.rtcp, signed, nil), tag) {
		return nil, 0, false
	}
	body, trailer := signed[:len(signed)-srtcpIndex], binary.BigEndian.Uint32(signed[len(signed)-srtcpIndex:])
	if trailer&srtcpSealed == 0 {
		return nil, 0, false
	}
	index = trailer &^ srtcpSealed
	return s.crypt(&s.rtcp, append(dst, pkt[:rtcpHeader]...), body[rtcpHeader:], pkt[4:8], uint64(index)), index, true
}
