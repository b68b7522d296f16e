package core

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

const gcmTag = 16

// gcmSRTP is SRTP_AEAD_AES_128_GCM and SRTP_AEAD_AES_256_GCM (RFC 7714).
type gcmSRTP struct {
	rtp, rtcp         cipher.AEAD
	rtpSalt, rtcpSalt [12]byte
	nonce             [12]byte
	aad               [rtcpHeader + srtcpIndex]byte
}

func newGCM(master cipher.Block, salt []byte, keySize int) (*gcmSRTP, error) {
	g := &gcmSRTP{}
	for _, k := range []struct {
		label byte
		aead  *cipher.AEAD
		salt  *[12]byte
	}{{labelRTP, &g.rtp, &g.rtpSalt}, {labelRTCP, &g.rtcp, &g.rtcpSalt}} {
		block, err := aes.NewCipher(derive(master, salt, k.label+labelKey, keySize))
		if err != nil {
			return nil, err
		}
		if *k.aead, err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
		copy(k.salt[:], derive(master, salt, k.label+labelSalt, len(k.salt)))
	}
	return g, nil
}

// setNonce makes the nonce of RFC 7714 §8.1 and §9.1; an SRTCP index fills the
// place of the rollover counter's lower half and the sequence number.
func (g *gcmSRTP) setNonce(salt *[12]byte, ssrc []byte, index uint64) {
	n := &g.nonce
	n[0], n[1] = 0, 0
	copy(n[2:6], ssrc)
	binary.BigEndian.PutUint32(n[6:], uint32(index>>16))
	binary.BigEndian.PutUint16(n[10:], uint16(index))
	for i := range n {
		n[i] ^= salt[i]
	}
}

func (g *gcmSRTP) sealRTP(dst, head, payload []byte, index uint64) []byte {
	g.setNonce(&g.rtpSalt, head[8:12], index)
	return g.rtp.Seal(append(dst, head...), g.nonce[:], payload, head)
}

func (g *gcmSRTP) sealRTCP(dst, pkt []byte, index uint32) []byte {
	index &^= srtcpSealed
	g.setNonce(&g.rtcpSalt, pkt[4:8], uint64(index))
	g.setAAD(pkt, index|srtcpSealed)
	dst = g.rtcp.Seal(append(dst, pkt[:rtcpHeader]...), g.nonce[:], pkt[rtcpHeader:], g.aad[:])
	return append(dst, g.aad[rtcpHeader:]...)
}

func (g *gcmSRTP) openRTCP(dst, pkt []byte) (plain []byte, index uint32, ok bool) {
	if len(pkt) < rtcpHeader+gcmTag+srtcpIndex {
		return nil, 0, false
	}
	body, trailer := pkt[:len(pkt)-srtcpIndex], binary.BigEndian.Uint32(pkt[len(pkt)-srtcpIndex:])
	if trailer&srtcpSealed == 0 {
		return nil, 0, false
	}
	index = trailer &^ srtcpSealed
	g.setNonce(&g.rtcpSalt, pkt[4:8], uint64(index))
	g.setAAD(pkt, trailer)
	plain, err := g.rtcp.Open(append(dst, pkt[:rtcpHeader]...), g.nonce[:], body[rtcpHeader:], g.aad[:])
	return plain, index, err == nil
}

func (g *gcmSRTP) setAAD(pkt []byte, trailer uint32) {
	copy(g.aad[:], pkt[:rtcpHeader])
	binary.BigEndian.PutUint32(g.aad[rtcpHeader:], trailer)
}
