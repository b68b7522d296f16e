package scenarios

import (
	"bytes"
	"context"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"slipstream/testrig/camera"
	"slipstream/testrig/camera/clips"
)

// sends gives the film pictures of a version, as packets; those of lost are missing.
func sends(t *testing.T, f *film, seq *uint16, version string, from, to uint64, lost uint64) {
	t.Helper()
	about, err := clips.Of(version)
	if err != nil {
		t.Fatal(err)
	}
	clip, err := camera.ReadClip(about.Data(), about.Phase)
	if err != nil {
		t.Fatal(err)
	}
	split := &codecs.H264Payloader{}
	for n := from; n < to; n++ {
		nalus, _ := clip.Frame(n)
		picture := []byte(naluStart)
		picture = append(picture, camera.Stamp{Version: version, Counter: n}.SEI()...)
		for _, nalu := range nalus {
			picture = append(append(picture, naluStart...), nalu...)
		}
		payloads := split.Payload(1200, picture)
		for i, payload := range payloads {
			*seq++
			if n != lost {
				f.packet(&rtp.Packet{
					Header:  rtp.Header{SequenceNumber: *seq, Timestamp: uint32(n * 3000), Marker: i == len(payloads)-1},
					Payload: payload,
				})
			}
		}
	}
}

// Of what a viewer got there are pictures of each version and in the end, each whole.
func TestStills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, seq := &film{}, uint16(65500)
	sends(t, f, &seq, "1.0", 100, 160, 0)
	f.take("asked")
	sends(t, f, &seq, "2.0", 160, 200, 161)
	w := &world{ctx: context.Background()}
	stills := w.stills(f)
	var captions []string
	for _, s := range stills {
		captions = append(captions, s.Caption)
		if _, err := jpeg.Decode(bytes.NewReader(s.JPEG)); err != nil || s.Error != "" {
			t.Errorf("%s: %v %s", s.Caption, err, s.Error)
		}
	}
	if got := strings.Join(captions, ", "); got != "version 1.0 comes, asked, version 2.0 comes, in the end" {
		t.Fatalf("pictures: %s", got)
	}
	if bytes.Equal(stills[0].JPEG, stills[3].JPEG) {
		t.Error("the pictures are the same")
	}

	// They are in the page, and what the camera said is not taken for a part of it.
	opts := Options{Package: "/x/cam-2.0.0.slip"}
	results := []Result{{Scenario: "mine", Arch: "arm", Passed: true, Took: time.Second, Console: "<b>hello</b>",
		Viewers: []Seen{{Name: "browser", Stills: stills}}, Ends: []End{{Version: "2.0.0", Outcome: "permanent"}}}}
	for name, wants := range map[string][]string{
		"report.html": {"data:image/jpeg;base64,", "&lt;b&gt;hello", "cam-2.0.0.slip", "in the end", "1 scenario passed, 0 failed"},
		"report.json": {`"scenario": "mine"`, `"outcome": "permanent"`},
	} {
		file := filepath.Join(dir, name)
		if err := Save(file, opts, results); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %q", name, want)
			}
		}
	}
}

// Nothing is kept of pictures that refer to one which did not come, until the next key frame.
func TestStillsAfterALoss(t *testing.T) {
	t.Parallel()
	f, seq := &film{}, uint16(0)
	sends(t, f, &seq, "1.0", 100, 125, 0)
	f.take("asked")
	sends(t, f, &seq, "1.0", 125, 127, 125)
	if n := len(f.shots); n != 1 {
		t.Fatalf("%d pictures", n)
	}
	sends(t, f, &seq, "1.0", 127, 140, 0)
	if n := len(f.shots); n != 2 {
		t.Fatalf("%d pictures", n)
	}
}
