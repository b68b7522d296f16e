package camera_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
)

// Limits of what may be committed, in bytes.
const (
	maxClipFile = 300 << 10
	maxClips    = 1800 << 10
)

func TestClipsAreWhatTheCameraNeeds(t *testing.T) {
	total := 0
	for _, c := range clips.All {
		data := c.Data()
		total += len(data)
		if len(data) > maxClipFile {
			t.Errorf("%s has %d bytes, the limit is %d", c.File, len(data), maxClipFile)
		}
		clip, err := camera.ReadClip(data, c.Phase)
		if err != nil {
			t.Errorf("%s: %v", c.File, err)
			continue
		}
		var sps h264.SPS
		if err := sps.Unmarshal(clip.SPS); err != nil {
			t.Fatalf("%s: %v", c.File, err)
		}
		if sps.Width() != 320 || sps.Height() != 180 || sps.MaxNumRefFrames != 1 {
			t.Errorf("%s: %d×%d with %d reference frames", c.File, sps.Width(), sps.Height(), sps.MaxNumRefFrames)
		}
		extra := max(c.Takes-1, 0) // each later take begins with a key frame out of turn
		if frames, keys := count(t, data); frames != c.Takes*camera.CounterModulo || keys != frames/c.GOP+extra {
			t.Errorf("%s: %d frames with %d key frames, want %d takes with one every %d", c.File, frames, keys, c.Takes, c.GOP)
		}
	}
	if total > maxClips {
		t.Errorf("all clips have %d bytes, the limit is %d", total, maxClips)
	}
}

func count(t *testing.T, data []byte) (frames, keys int) {
	var nalus h264.AnnexB
	if err := nalus.Unmarshal(data); err != nil {
		t.Fatal(err)
	}
	for _, n := range nalus {
		switch h264.NALUType(n[0] & 0x1f) {
		case h264.NALUTypeIDR:
			frames, keys = frames+1, keys+1
		case h264.NALUTypeNonIDR:
			frames++
		}
	}
	return frames, keys
}

// The counter must be readable from decoded pictures at any scale: that is how
// a browser's pictures are measured.
func TestPictureShowsCounterAtAnyScale(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("ffmpeg is not installed")
	}
	for _, c := range clips.All {
		for _, size := range [][2]int{{320, 180}, {214, 120}} {
			w, h := size[0], size[1]
			scale := "scale=" + itoa(w) + ":" + itoa(h)
			cmd := exec.CommandContext(t.Context(), ffmpeg, "-loglevel", "error", "-f", "h264", "-i", "-", "-vf", scale, "-f", "rawvideo", "-pix_fmt", "gray", "-")
			cmd.Stdin = bytes.NewReader(c.Data())
			var stderr strings.Builder
			cmd.Stderr = &stderr
			pictures, err := cmd.Output()
			if err != nil || stderr.Len() > 0 {
				t.Fatalf("%s: decode: %v %s", c.File, err, stderr.String())
			}
			if len(pictures) != w*h*camera.CounterModulo*c.Takes {
				t.Fatalf("%s: %d bytes of pictures", c.File, len(pictures))
			}
			for i := range camera.CounterModulo * c.Takes {
				got, ok := camera.ReadCounter(pictures[i*w*h:], w, h)
				if want := (i + int(c.Phase)) % camera.CounterModulo; !ok || got != want {
					t.Fatalf("%s at %s: picture %d shows %d (%t), want %d", c.File, scale, i, got, ok, want)
				}
			}
		}
	}
}

func TestCounterRefusesPicturesWithoutOne(t *testing.T) {
	for _, level := range []byte{0, 255} {
		if n, ok := camera.ReadCounter(bytes.Repeat([]byte{level}, 320*180), 320, 180); ok {
			t.Errorf("a picture of level %d alone reads as counter %d", level, n)
		}
	}
	if _, ok := camera.ReadCounter(nil, 320, 180); ok {
		t.Error("a picture without bytes reads as a counter")
	}
}

func TestReadClipRefuses(t *testing.T) {
	good := clips.All[0].Data()
	sps := bytes.Index(good[4:], []byte{0, 0, 0, 1}) + 4
	for name, data := range map[string][]byte{
		"nothing":                         nil,
		"no start code":                   []byte("not a film at all"),
		"parameter sets missing":          good[sps:],
		"several slices a frame":          append(bytes.Clone(good), 0, 0, 1, 0x41, 0x00, 0x01),
		"a part of a take":                append(bytes.Clone(good), clips.All[6].Data()[:2000]...),
		"a NAL unit of another kind (12)": append(bytes.Clone(good), 0, 0, 1, 12, 0xff),
	} {
		if _, err := camera.ReadClip(data, 0); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
