package clients

import "strings"

// Encoders that publish a live picture by RTSP: commands whose last argument is the
// URL.

// FFmpegPublisher is ffmpeg with x264, a key frame each so many frames.
func FFmpegPublisher(gop string, url string) (program string, args []string) {
	return "ffmpeg", append(strings.Fields("-nostdin -v error -re -f lavfi -i testsrc2=size=320x180:rate=30 -c:v libx264 -bf 0 "+
		"-preset ultrafast -tune zerolatency -pix_fmt yuv420p -f rtsp -rtsp_transport tcp -g "+gop), url)
}

// GStreamerPublisher is gst-launch-1.0 with x264, a key frame each so many frames.
func GStreamerPublisher(gop string, url string) (program string, args []string) {
	return "gst-launch-1.0", strings.Fields("-q videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=180,framerate=30/1 ! " +
		"x264enc tune=zerolatency speed-preset=ultrafast bframes=0 key-int-max=" + gop + " ! h264parse ! rtspclientsink protocols=tcp location=" + url)
}
