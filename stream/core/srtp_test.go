package core

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	pionsrtp "github.com/pion/srtp/v2"

	"slipstream/stream/handover"
)

var profiles = map[string]pionsrtp.ProtectionProfile{
	handover.AES128CM: pionsrtp.ProtectionProfileAes128CmHmacSha1_80,
	handover.AES128:   pionsrtp.ProtectionProfileAeadAes128Gcm,
	handover.AES256:   pionsrtp.ProtectionProfileAeadAes256Gcm,
}

// masterKey draws a key and a salt of a profile's sizes.
func masterKey(profile string) (key, salt []byte) {
	sizes := map[string][2]int{handover.AES128CM: {16, 14}, handover.AES128: {16, 12}, handover.AES256: {32, 12}}[profile]
	key, salt = make([]byte, sizes[0]), make([]byte, sizes[1])
	for _, b := range [][]byte{key, salt} {
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
	}
	return key, salt
}

// pair is our side and the library's of one direction.
func pair(t testing.TB, profile string) (srtp, *pionsrtp.Context) {
	t.Helper()
	key, salt := masterKey(profile)
	ours, err := newSRTP(profile, key, salt)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := pionsrtp.CreateContext(key, salt, profiles[profile])
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// Each profile must be what another implementation reads and writes, over the
// wrap of the sequence number and with a rollover counter that needs all its bits.
func TestSRTPIsTheLibrarys(t *testing.T) {
	for profile := range profiles {
		for _, first := range []uint64{0, 65530, 1<<32 - 6, 0xabcdef01<<16 | 65530} {
			ours, theirs := pair(t, profile)
			theirs.SetROC(0x01020304, uint32(first>>16))
			for index := first; index < first+12; index++ {
				head := header(index, 77, index%3 == 0)
				head[0] = 0x80
				head[1] |= 102
				binary.BigEndian.PutUint32(head[8:], 0x01020304)
				payload := bytes.Repeat([]byte{byte(index)}, 1+int(index*37%1300))
				sealed := ours.sealRTP(nil, head[:], payload, index)
				plain, err := theirs.DecryptRTP(nil, sealed, nil)
				if err != nil || !bytes.Equal(plain, append(head[:], payload...)) {
					t.Fatalf("%s, index %d: %v", profile, index, err)
				}
			}
		}
	}
}

func TestSRTCPBothWays(t *testing.T) {
	for profile := range profiles {
		ours, theirs := pair(t, profile)
		report := senderReport{ssrc: 9, ntp: 1, ts: 2, packets: 3, octets: 4}.append(nil)
		for _, index := range []uint32{0, 1, 70_000, 1<<31 - 1} {
			plain, err := theirs.DecryptRTCP(nil, ours.sealRTCP(nil, report, index), nil)
			if err != nil || !bytes.Equal(plain, report) {
				t.Fatalf("%s, index %d: %v", profile, index, err)
			}
		}
		packets, err := rtcp.Unmarshal(report)
		if err != nil || len(packets) != 2 {
			t.Fatalf("a sender report is read as %v: %v", packets, err)
		}
		if sr, ok := packets[0].(*rtcp.SenderReport); !ok || sr.SSRC != 9 || sr.NTPTime != 1 || sr.RTPTime != 2 || sr.PacketCount != 3 || sr.OctetCount != 4 {
			t.Errorf("%+v", packets[0])
		}
		for _, index := range []uint32{5, 70_000} {
			ours, theirs := pair(t, profile)
			theirs.SetIndex(9, index)
			sealed, err := theirs.EncryptRTCP(nil, report, nil)
			if err != nil {
				t.Fatal(err)
			}
			plain, got, ok := ours.openRTCP(nil, sealed)
			if !ok || got != index+1 || !bytes.Equal(plain, report) {
				t.Fatalf("%s: opened %v, index %d", profile, ok, got)
			}
			for at := range sealed {
				sealed[at] ^= 1
				if _, _, ok := ours.openRTCP(nil, sealed); ok {
					t.Fatalf("%s: byte %d may be changed", profile, at)
				}
				sealed[at] ^= 1
			}
			for n := range sealed {
				if _, _, ok := ours.openRTCP(nil, sealed[:n]); ok {
					t.Fatalf("%s: opened the first %d bytes", profile, n)
				}
			}
		}
	}
}

// A packet that is sealed again under its index is the same packet.
func TestSealingAgainGivesTheSameBytes(t *testing.T) {
	for profile := range profiles {
		ours, _ := pair(t, profile)
		head := header(7, 8, true)
		first := ours.sealRTP(nil, head[:], []byte("payload"), 7)
		ours.sealRTP(nil, head[:], []byte("another"), 8)
		ours.sealRTCP(nil, make([]byte, 20), 7)
		if again := ours.sealRTP(nil, head[:], []byte("payload"), 7); !bytes.Equal(first, again) {
			t.Errorf("%s: the bytes differ", profile)
		}
	}
}

func TestSRTPKeysOfWrongSizesAreRefused(t *testing.T) {
	for profile := range profiles {
		key, salt := masterKey(profile)
		for _, bad := range [][2][]byte{{key[1:], salt}, {key, salt[1:]}, {nil, nil}, {append(key, 1), salt}} {
			if _, err := newSRTP(profile, bad[0], bad[1]); err == nil {
				t.Errorf("%s took %d bytes of key and %d of salt", profile, len(bad[0]), len(bad[1]))
			}
		}
	}
	if _, err := newSRTP("NULL", make([]byte, 16), make([]byte, 14)); err == nil {
		t.Error("an unknown profile was taken")
	}
}

func TestReplayWindow(t *testing.T) {
	var w replayWindow
	for _, c := range []struct {
		index uint32
		fresh bool
	}{{5, true}, {5, false}, {3, true}, {3, false}, {100, true}, {36, false}, {37, true}, {37, false}, {1 << 30, true}, {100, false}, {1<<30 - 1, true}} {
		if got := w.fresh(c.index); got != c.fresh {
			t.Errorf("index %d: fresh %v, want %v", c.index, got, c.fresh)
		}
	}
}

func TestSealingAllocs(t *testing.T) {
	for profile := range profiles {
		ours, theirs := pair(t, profile)
		head, payload, dst := header(1, 2, false), make([]byte, 1200), make([]byte, 0, 2048)
		fromViewer, err := theirs.EncryptRTCP(nil, senderReport{}.append(nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		index := uint64(0)
		if n := testing.AllocsPerRun(100, func() {
			index++
			ours.sealRTP(dst, head[:], payload, index)
			ours.sealRTCP(dst, payload[:48], uint32(index))
			if _, _, ok := ours.openRTCP(dst, fromViewer); !ok {
				t.Fatal("not opened")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", profile, n)
		}
	}
}

// BenchmarkSeal compares our sealing with the library's.
func BenchmarkSeal(b *testing.B) {
	for profile := range profiles {
		ours, theirs := pair(b, profile)
		payload, dst := make([]byte, 1200), make([]byte, 0, 2048)
		b.Run(fmt.Sprintf("ours/%s", profile), func(b *testing.B) {
			b.ReportAllocs()
			head := header(0, 1, false)
			head[0] = 0x80
			for index := uint64(0); b.Loop(); index++ {
				binary.BigEndian.PutUint16(head[2:], uint16(index))
				ours.sealRTP(dst, head[:], payload, index)
			}
		})
		b.Run(fmt.Sprintf("library/%s", profile), func(b *testing.B) {
			b.ReportAllocs()
			h := rtp.Header{Version: 2}
			plain := make([]byte, 12+len(payload))
			for b.Loop() {
				h.SequenceNumber++
				h.MarshalTo(plain)
				theirs.EncryptRTP(dst, plain, &h)
			}
		})
	}
}
