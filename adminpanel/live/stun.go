package live

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"hash/crc32"

	"slipstream/agent/wire"
)

// What a check is made of (RFC 8489).
const (
	stunRequest     = 0x0001
	stunCookie      = 0x2112a442
	stunHeader      = 20
	attrUsername    = 0x0006
	attrIntegrity   = 0x0008
	attrFingerprint = 0x8028
	fingerprintXOR  = 0x5354554e
)

// check asks the device for its consent (RFC 7675). Its answers say that it lives, and
// nothing in them is read.
func check(leg *wire.Leg) []byte {
	msg := binary.BigEndian.AppendUint16(nil, stunRequest)
	msg = append(msg, 0, 0)
	msg = binary.BigEndian.AppendUint32(msg, stunCookie)
	var transaction [12]byte
	rand.Read(transaction[:])
	msg = append(msg, transaction[:]...)
	msg = attribute(msg, attrUsername, []byte(leg.DeviceUfrag+":"+leg.PanelUfrag))

	count(msg, 4+sha1.Size)
	mac := hmac.New(sha1.New, []byte(leg.DevicePwd))
	mac.Write(msg)
	msg = attribute(msg, attrIntegrity, mac.Sum(nil))

	count(msg, 4+4)
	return attribute(msg, attrFingerprint, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(msg)^fingerprintXOR))
}

// count writes the message's length as it is with more bytes behind it.
func count(msg []byte, more int) {
	binary.BigEndian.PutUint16(msg[2:], uint16(len(msg)-stunHeader+more))
}

func attribute(msg []byte, kind uint16, value []byte) []byte {
	msg = binary.BigEndian.AppendUint16(msg, kind)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(value)))
	msg = append(msg, value...)
	for len(msg)%4 != 0 {
		msg = append(msg, 0)
	}
	return msg
}
