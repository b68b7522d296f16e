// Package clients runs other people's programs as viewers and as publishers:
// ffmpeg, GStreamer and Chromium, unchanged and with their own ideas of what a
// stream may do.
//
// A viewer's pictures are decoded and looked at: which version is on air by its
// colour, and which scene by the counter that is drawn into it. So a frame that was
// lost, repeated or damaged on the way is seen where a person would see it.
// Whatever such a program complains of is a failure.
package clients
