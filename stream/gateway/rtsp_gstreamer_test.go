package gateway_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"slipstream/stream/orders"
)

// decoders are GStreamer's ways from packets to pictures and samples.
var decoders = map[string]string{
	orders.H264:  "rtph264depay ! h264parse ! avdec_h264",
	orders.H265:  "rtph265depay ! h265parse ! avdec_h265",
	orders.MJPEG: "rtpjpegdepay ! jpegdec",
	orders.Opus:  "rtpopusdepay ! opusdec",
	orders.AAC:   "rtpmp4gdepay ! avdec_aac",
	orders.PCMU:  "rtppcmudepay ! mulawdec",
	orders.PCMA:  "rtppcmadepay ! alawdec",
}

// GStreamer decodes every codec, picture and sound together.
func TestGStreamerPlaysPicturesWithSound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ video, audio string }{
		{orders.H265, orders.Opus}, {orders.H264, orders.AAC}, {orders.MJPEG, orders.PCMA}, {orders.H264, orders.PCMU},
	} {
		t.Run(c.video+" and "+c.audio, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.forward(t)
			w.publishBoth(t, c.video, c.audio)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			const sink = " ! fakesink sync=false num-buffers=30 "
			line := "gst-launch-1.0 -q rtspsrc name=in protocols=tcp latency=0 location=" + w.rtsp +
				" in. ! " + decoders[c.video] + sink + "in. ! " + decoders[c.audio] + sink
			args := strings.Fields(line)
			if err := silent(exec.CommandContext(ctx, args[0], args[1:]...)); err != nil {
				t.Error(err)
			}
		})
	}
}
