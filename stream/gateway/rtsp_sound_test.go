package gateway_test

import (
	"context"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"slipstream/stream/ingest"
	"slipstream/stream/orders"
)

// codecs are what an app may publish, with ffmpeg's options for it.
var codecs = map[string][]string{
	orders.H264:  {"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", "15", "-pix_fmt", "yuv420p"},
	orders.H265:  {"-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-x265-params", "log-level=error:bframes=0:keyint=15", "-pix_fmt", "yuv420p"},
	orders.MJPEG: {"-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-huffman", "default", "-force_duplicated_matrix", "1"},
	orders.Opus:  {"-c:a", "libopus"},
	orders.AAC:   {"-c:a", "aac"},
	orders.PCMU:  {"-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"},
	orders.PCMA:  {"-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"},
}

// publishBoth makes a source of a picture and its sound, with more of ffmpeg's
// options if need be.
func (w *world) publishBoth(t *testing.T, video, audio string, options ...string) {
	t.Helper()
	w.ask(t, orders.Request{Orders: &orders.Orders{Permanent: "a-2", Sources: []orders.Source{{ID: "a-2", Version: "1", UID: -1, Streams: []orders.Stream{
		{Name: "main", Codec: video, Audio: "mic"}, {Name: "mic", Codec: audio},
	}}}}}, orders.ResultOK)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in, err := ingest.New(ln, ingest.Config{
		Publish: filepath.Join(w.run, "pub", "a-2.sock"), Streams: []ingest.Stream{{Name: "main", Audio: "mic"}, {Name: "mic"}}, Secret: "s",
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	background(t, in.Run)
	args := []string{"-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x176:rate=30", "-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"}
	args = slices.Concat(args, codecs[video], codecs[audio], options)
	cmd := exec.Command("ffmpeg", append(args, "-f", "rtsp", "rtsp://"+ln.Addr().String()+"/s")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() }))
	w.awaitPicture(t)
}

// Every codec, picture and sound together, over each transport.
func TestPicturesWithSound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ video, audio string }{
		{orders.H264, orders.Opus}, {orders.H265, orders.AAC}, {orders.MJPEG, orders.PCMU}, {orders.H264, orders.PCMA},
	} {
		t.Run(c.video+" and "+c.audio, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, secured(t))
			w.forward(t)
			w.publishBoth(t, c.video, c.audio)
			for _, url := range []string{w.rtsp + " tcp", w.rtsp + " udp", w.rtsps("") + " tcp"} {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				url, transport, _ := strings.Cut(url, " ")
				out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-rtsp_transport", transport, "-i", url, "-map", "0:v", "-map", "0:a",
					"-fps_mode", "passthrough", "-enc_time_base:v", "1:90000", "-t", "1", "-f", "null", "-").CombinedOutput()
				cancel()
				if said := undecoded(string(out)); err != nil || said != "" {
					t.Errorf("%s by %s: %v\n%s", url, transport, err, said)
				}
			}
		})
	}
}

// undecoded is what ffmpeg says of what it could not decode. While a publisher is
// young, the place of its sound on the capture clock may still move by a few
// milliseconds, of which ffmpeg speaks too.
func undecoded(said string) (rest string) {
	for line := range strings.Lines(said) {
		if !strings.Contains(line, "non monotonically increasing dts") {
			rest += line
		}
	}
	return rest
}
