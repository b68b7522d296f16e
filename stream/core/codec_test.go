package core

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	codech265 "github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"slipstream/stream/orders"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Sequence parameter sets of x265, by picture size and longest reordering.
var hevcSets = map[string]hevcSequence{
	"42010101600000030090000003000003003ca00a080c1f3e5ba4a4c2f0168080000003008000000f04":       {320, 180, 0},
	"420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000f04":   {1920, 1080, 2},
	"420101016000000300900000030000030078a003c08011075365ba4a4c2f016808000003000800000300f040": {1918, 1078, 0},
	"42010101600000030090000003000003005aa0050201e16595992930bc05a020000003002000000303c1":     {640, 480, 2},
	"4201010408000003009e0800000300003c9001510080e3e3f2dd25261780b4040000030004000003007820":   {322, 242, 0},
}

func TestHEVCSequenceSets(t *testing.T) {
	for text, want := range hevcSets {
		nal := unhex(t, text)
		if got, ok := readHEVC(nal); !ok || got != want {
			t.Errorf("%+v, %v; want %+v", got, ok, want)
		}
		for n := range len(nal) / 2 {
			if got, ok := readHEVC(nal[:n]); ok {
				t.Errorf("the first %d bytes are taken for %+v", n, got)
			}
		}
	}
}

// FuzzHEVC holds the reader of sequence parameter sets against the library's.
func FuzzHEVC(f *testing.F) {
	for text := range hevcSets {
		f.Add(unhex(f, text))
	}
	f.Fuzz(func(t *testing.T, nal []byte) {
		got, ok := readHEVC(nal)
		var theirs codech265.SPS
		if !ok || theirs.Unmarshal(nal) != nil {
			return
		}
		want := hevcSequence{uint32(theirs.Width()), uint32(theirs.Height()), theirs.MaxNumReorderPics[theirs.MaxSubLayersMinus1]}
		if got != want {
			t.Fatalf("%+v, the library reads %+v", got, want)
		}
	})
}

// What each payload says of its access unit. A refusal is named by a word of it.
func TestLook(t *testing.T) {
	for _, c := range []struct {
		name, codec, payload string
		key                  bool
		sets                 int
		refusal              string
	}{
		{"IDR", "h264", "65 88", true, 0, ""},
		{"P slice", "h264", "41 9a", false, 0, ""},
		{"B slice", "h264", "01 a8", false, 0, "B-frames"},
		{"SPS and PPS together", "h264", "78 0002 6742 0002 68ce", false, 2, ""},
		{"with an IDR", "h264", "78 0002 6742 0002 6588", true, 1, ""},
		{"size over the end", "h264", "78 0005 6742", false, 0, "RFC 6184"},
		{"first fragment of an IDR", "h264", "7c 85 88", true, 0, ""},
		{"later fragment of an IDR", "h264", "7c 05 88", false, 0, ""},
		{"empty fragment", "h264", "7c 85", false, 0, "RFC 6184"},
		{"interleaved", "h264", "79 0000 0002 6742", false, 0, "RFC 6184"},
		{"slice of a layer", "h264", "74 80 00 00 88", false, 0, "layers"},

		{"IDR", "h265", "26 01 af", true, 0, ""},
		{"CRA", "h265", "2a 01 af", true, 0, ""},
		{"BLA", "h265", "20 01 af", true, 0, ""},
		{"trailing picture", "h265", "02 01 d0", false, 0, ""},
		{"leading picture", "h265", "12 01 d0", false, 0, "B-frames"},
		{"sets and IDR together", "h265", "60 01 0003 4001 0c 0003 4201 01 0003 4401 c1 0003 2601 af", true, 3, ""},
		{"one in another", "h265", "60 01 0003 6001 0c", false, 0, "RFC 7798"},
		{"size over the end", "h265", "60 01 0009 4001 0c", false, 0, "RFC 7798"},
		{"first fragment of an IDR", "h265", "62 01 93 af", true, 0, ""},
		{"later fragment of an IDR", "h265", "62 01 13 af", false, 0, ""},
		{"first fragment of a leading picture", "h265", "62 01 88 af", false, 0, "B-frames"},
		{"empty fragment", "h265", "62 01 93", false, 0, "RFC 7798"},
		{"PACI", "h265", "64 01 00 00 00", false, 0, "RFC 7798"},
		{"another layer", "h265", "26 09 af", false, 0, "layers"},
		{"fragment of another layer", "h265", "63 01 93 af", false, 0, "layers"},
		{"header alone", "h265", "26 01", false, 0, "RFC 7798"},

		{"first packet", "mjpeg", "00 000000 01 32 28 17 ff", true, 0, ""},
		{"later packet", "mjpeg", "00 0004d8 01 32 28 17 ff", false, 0, ""},
		{"with tables", "mjpeg", "00 000000 01 ff 28 17 0000 0002 0101 ff", true, 0, ""},
		{"without its tables", "mjpeg", "00 000000 01 ff 28 17 0000 0000 ff", true, 0, "tables"},
		{"tables over the end", "mjpeg", "00 000000 01 ff 28 17 0000 0080 ff", true, 0, "RFC 2435"},
		{"restart intervals and tables", "mjpeg", "00 000000 41 ff 28 17 0004 ffff 0000 0002 0101 ff", true, 0, ""},
		{"no size", "mjpeg", "00 000000 01 32 00 17 ff", true, 0, "2040"},
		{"another type", "mjpeg", "00 000000 02 32 28 17 ff", false, 0, "RFC 2435"},
		{"no scan", "mjpeg", "00 000000 01 32 28 17", false, 0, "RFC 2435"},

		{"packet", "opus", "fc ff fe", true, 0, ""},
		{"silence", "opus", "08", true, 0, ""},
		{"counted frames", "opus", "ff 02 00", true, 0, ""},
		{"no frame", "opus", "ff 00 00", false, 0, "RFC 6716"},
		{"samples", "pcmu", "ff", true, 0, ""},
		{"samples", "pcma", "d5", true, 0, ""},
		{"one frame", "aac", "0010 0010 2100", true, 0, ""},
		{"two frames", "aac", "0020 0010 0008 210021", true, 0, ""},
		{"part of a frame", "aac", "0010 0320 2100", false, 0, "whole AAC"},
		{"no frame", "aac", "0000 21", false, 0, "whole AAC"},
	} {
		codec, err := codecOf(c.codec)
		if err != nil {
			t.Fatal(err)
		}
		info, refusal := codec.look(unhex(t, c.payload))
		if c.refusal != "" || refusal != "" {
			if c.refusal == "" || !strings.Contains(refusal, c.refusal) {
				t.Errorf("%s %s: refused because %q, want %q", c.codec, c.name, refusal, c.refusal)
			}
			continue
		}
		sets := 0
		for _, set := range info.sets {
			if len(set) > 0 {
				sets++
			}
		}
		if info.key != c.key || sets != c.sets {
			t.Errorf("%s %s: key %v, %d parameter sets", c.codec, c.name, info.key, sets)
		}
	}
}

// FuzzLook gives every codec any payload: what it returns lies in it.
func FuzzLook(f *testing.F) {
	for _, text := range []string{"78000267420003688888", "60010003420101", "000000000ff2817000000020101ff0", "ff0200", "00200010000821002100"} {
		f.Add([]byte(text))
		f.Add(unhex(f, text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) == 0 {
			return
		}
		for name, codec := range codecs {
			info, refusal := codec.look(payload)
			if refusal != "" {
				continue
			}
			for _, set := range info.sets {
				if len(set) > 0 && !bytes.Contains(payload, set) {
					t.Fatalf("%s: a parameter set that is not in the payload", name)
				}
			}
			if codec.sound() && !info.key {
				t.Fatalf("%s: sound that cannot be begun with", name)
			}
		}
	})
}

const sdpHead = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"

// sdps has a medium of each codec.
var sdps = map[string]string{
	orders.H264:  "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n",
	orders.H265:  "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\n",
	orders.MJPEG: "m=video 0 RTP/AVP 26\r\n",
	orders.Opus:  "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n",
	orders.PCMU:  "m=audio 0 RTP/AVP 0\r\n",
	orders.PCMA:  "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n",
	orders.AAC:   aacSDP("1210"),
}

func aacSDP(config string) string {
	return "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/44100/2\r\n" +
		"a=fmtp:97 streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=" + config + "\r\n"
}

// Every declaration takes its own codec and refuses the others with a word on what
// to do.
func TestDeclarationBinds(t *testing.T) {
	for declared, codec := range codecs {
		for published, text := range sdps {
			l := lineOf(memory[lineMemory]{fd: -1, data: &lineMemory{}}, &source{}, &stream{}, orders.Stream{Name: "main", Codec: declared}, codec)
			err := l.describe([]byte(sdpHead + text))
			switch {
			case declared == published && err != nil:
				t.Errorf("%s: %v", declared, err)
			case declared != published && (err == nil || !strings.Contains(err.Error(), "publish that (ffmpeg: -c:")):
				t.Errorf("%s declared, %s published: %v", declared, published, err)
			case declared == published && published == orders.AAC && l.rate != 44100:
				t.Errorf("AAC of 44100 Hz runs at %d", l.rate)
			}
		}
	}
}

// Media of a codec that viewers cannot be given are refused when they are published.
func TestDescriptionsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ codec, text, says string }{
		{orders.H264, "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=2\r\n", "mode 1"},
		{orders.H265, "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 sprop-max-don-diff=2\r\n", "sprop-max-don-diff"},
		{orders.Opus, "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 multiopus/48000/6\r\n", "one or two"},
		{orders.PCMU, "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 PCMU/16000\r\n", "-ar 8000"},
		{orders.AAC, strings.Replace(aacSDP("1210"), "sizelength=13", "sizelength=6", 1), "AAC-hbr"},
		{orders.AAC, aacSDP("2b118800"), "AAC-LC"},
		{orders.H264, "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n", "libx264"},
	} {
		codec, err := codecOf(c.codec)
		if err != nil {
			t.Fatal(err)
		}
		l := lineOf(memory[lineMemory]{fd: -1, data: &lineMemory{}}, &source{}, &stream{}, orders.Stream{Name: "main", Codec: c.codec}, codec)
		if err := l.describe([]byte(sdpHead + c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	h := &format.H265{SPS: unhex(t, "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000f04")}
	l := bareLine(1)
	l.codec = h265{}
	if m, _, ok := l.codec.describe(h); !ok || l.parameterSets(unitInfo{sets: m.sets}) != reorderRefusal {
		t.Error("H.265 that reorders pictures was taken")
	}
}

// A stream must not ask more of decoders than its declaration says they have.
func TestDeclaredProfileBinds(t *testing.T) {
	for _, c := range []struct {
		declared, published string
		taken               bool
	}{
		{"42e01f", "42c00d", true},
		{"42e01f", "42e01f", true},
		{"42e01f", "42e020", false},
		{"42e01f", "4d401f", false},
		{"4d401f", "42001e", true},
		{"64001f", "4d400d", true},
		{"64001f", "6e001f", false},
		{"6e001f", "6e001f", true},
		{"", "640033", true},
	} {
		set := append([]byte{0x67}, unhex(t, c.published)...)
		if refusal := beyondProfile(set, c.declared); (refusal == "") != c.taken {
			t.Errorf("%s published, %s declared: %q", c.published, c.declared, refusal)
		}
	}
	l := bareLine(1)
	l.spec.Profile = "42e00a"
	if refusal := l.parameterSets(unitInfo{sets: [maxSets][]byte{unhex(t, "6742c00dd901419f9f0110000003001000000303c0f142a480")}}); !strings.Contains(refusal, "42c00d") {
		t.Errorf("level 1.3 where 1.0 is declared: %q", refusal)
	}
}
