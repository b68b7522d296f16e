package clients_test

import (
	"os"
	"os/exec"
	"testing"

	"slipstream/stream/publish"
	"slipstream/testrig/clients"
	"slipstream/testrig/stand"
	"slipstream/testrig/standtest"
	"slipstream/testrig/viewer"
)

// encode runs an encoder that publishes as a part, through the part's ingest, until
// the returned function is called or the test ends.
func encode(w *standtest.World, part stand.Part, name string, command func(gop, url string) (string, []string)) (kill func()) {
	w.T.Helper()
	url, in, err := w.Ingest(part.Source.ID)
	w.Must(err)
	w.T.Cleanup(in.Kill)
	program, args := command("10", url)
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "SLIPSTREAM_PUBLISH="+w.Publish(part.Source.ID)) // so that the stand's guard knows it
	p, err := w.Begin(name, cmd)
	w.Must(err)
	w.T.Cleanup(p.Kill)
	return p.Kill
}

// ffmpeg and GStreamer publish through the ingest, each as a version; viewers go
// from one to the other and back, and at last the one on trial is killed.
func TestEncodersTakeOverFromEachOther(t *testing.T) {
	t.Parallel()
	w := standtest.New(t)
	parts := []stand.Part{stand.NewPart("a-1", "1.0", stall), stand.NewPart("b-1", "2.0", stall)}
	w.Must(w.Order(w.Ctx, nil, parts...))
	kills := []func(){encode(w, parts[0], "ffmpeg", clients.FFmpegPublisher), encode(w, parts[1], "gstreamer", clients.GStreamerPublisher)}
	var v *viewer.Viewer
	w.Must(stand.Retry(w.Ctx, func() (err error) { v, err = viewer.DialWHEP(w.Ctx, w.WHEP()); return err }))
	t.Cleanup(v.Close)
	_, err := v.Wait(w.Ctx, "a key frame", func(u viewer.Unit) bool { return u.IDR })
	w.Must(err)
	var decoders []*clients.Decoder
	for _, start := range []func() (*clients.Decoder, error){
		func() (*clients.Decoder, error) { return clients.FFmpeg(w.Ctx, w.RTSP(), "tcp") },
		func() (*clients.Decoder, error) { return clients.GStreamer(w.Ctx, w.RTSP(), "tcp") },
	} {
		d, err := start()
		w.Must(err)
		t.Cleanup(func() { d.Stop() })
		w.Must(d.Reaches(w.Ctx, 5))
		decoders = append(decoders, d)
	}
	from := publish.Monotonic()
	old := 0
	grow := func() {
		t.Helper()
		for _, d := range decoders {
			w.Must(d.Reaches(w.Ctx, d.Count()+5))
		}
	}
	for i := range standtest.Rounds(5, 50) {
		id, err := w.Try(w.Ctx, parts[old], parts[1-old])
		w.Must(err)
		_, err = w.Switched(w.Ctx, id)
		w.Must(err)
		grow()
		if i%2 == 0 {
			w.Must(w.Commit(w.Ctx, id, parts[1-old].Source.ID))
			old = 1 - old
			w.Must(w.Order(w.Ctx, nil, parts[old], parts[1-old]))
			continue
		}
		_, err = w.Revert(w.Ctx, id)
		w.Must(err)
		grow()
	}
	id, err := w.Try(w.Ctx, parts[old], parts[1-old])
	w.Must(err)
	_, err = w.Switched(w.Ctx, id)
	w.Must(err)
	grow()
	kills[1-old]()
	_, err = w.Reverted(w.Ctx, id)
	w.Must(err)
	grow()
	r := v.Report(from, publish.Monotonic())
	t.Logf("%+v", r)
	if r.SeqBreaks+r.TimestampBreaks+r.FramesLost+r.Duplicates > 0 || !v.Alive() {
		t.Errorf("alive %t %s, %+v", v.Alive(), v.Ended(), r)
	}
	for _, d := range decoders {
		if said := d.Stop(); said != "" {
			t.Errorf("%s complains:\n%s", d.Name, said)
		}
	}
}
