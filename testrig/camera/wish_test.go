package camera_test

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtp"

	"slipstream/stream/publish"
	"slipstream/testrig/camera"
)

// A camera that is asked for a key frame sends one within a few frames, which goes
// on with the scene and leaves nothing that a decoder stumbles over.
func TestCameraAnswersAWishForAKeyFrame(t *testing.T) {
	const answer, wishes = 4, 6 // frames after that in whose time the wish came
	env := slot(t, goodConfig)
	env.NotifySocket = ""
	publishers := forwarder(t, env.Publish)
	start(t, env)
	p := next(t, publishers, "publisher")
	next(t, p.messages, "hello")
	decoder := &rtph264.Decoder{PacketizationMode: 1}
	if err := decoder.Init(); err != nil {
		t.Fatal(err)
	}
	var film []byte
	var counters []uint64
	for asked, wait := 0, 0; asked < wishes || wait > 0; {
		stamp, packets, _ := unit(t, p)
		var key bool
		for _, pkt := range packets {
			nalus, err := decoder.Decode(pkt)
			if err != nil {
				continue // more of it to come
			}
			key = key || h264.IsRandomAccess(nalus)
			raw, err := h264.AnnexB(nalus).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			film = append(film, raw...)
		}
		counters = append(counters, stamp.Counter)
		switch {
		case key && wait > 0:
			wait = 0
		case wait > 0:
			if wait--; wait == 0 {
				t.Fatalf("no key frame within %d frames of wish %d", answer, asked)
			}
		case key: // on its own
		case asked < wishes:
			if _, err := p.conn.Write([]byte{publish.MsgKeyFrame}); err != nil {
				t.Fatal(err)
			}
			asked, wait = asked+1, answer+len(p.messages) // a late reader has frames to catch up with
		}
	}
	checkPictures(t, film, counters)
}

// checkPictures decodes a film and reads the counters from its pictures.
func checkPictures(t *testing.T, film []byte, counters []uint64) {
	t.Helper()
	const w, h = 320, 180
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-loglevel", "warning", "-f", "h264", "-i", "-", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-")
	cmd.Stdin = bytes.NewReader(film)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	pictures, err := cmd.Output()
	if err != nil || complaints.Len() > 0 || len(pictures) != w*h*len(counters) {
		t.Fatalf("%d bytes of pictures for %d frames: %v %s", len(pictures), len(counters), err, complaints.String())
	}
	for i, want := range counters {
		if got, ok := camera.ReadCounter(pictures[i*w*h:], w, h); !ok || got != int(want%camera.CounterModulo) {
			t.Fatalf("picture %d shows %d (%t), want %d", i, got, ok, want%camera.CounterModulo)
		}
	}
}

// isKey says whether an access unit's packets are those of a key frame.
func isKey(packets []*rtp.Packet) bool {
	const idr, fuA = 5, 28
	for _, p := range packets {
		for _, nalu := range stapA(p.Payload) {
			if t := nalu[0] & 0x1f; t == idr || t == fuA && nalu[1]&0x1f == idr {
				return true
			}
		}
	}
	return false
}
