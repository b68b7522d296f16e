// Package camera is the sample camera application: it plays a short H.264 clip
// frame by frame in real time, through stream/publish, and misbehaves on demand.
//
// All cameras of a machine look at the same scene: the frame counter
// n = floor(30 × CLOCK_MONOTONIC). Frame n of a clip is sent at n's time, so two
// versions that run side by side show the same n in different colours, and a
// viewer can tell from the pictures alone what was shown twice and what was
// missed. The counter is readable in two ways: as ten black and white blocks in
// the picture ([ReadCounter]) and as an SEI message in every access unit
// ([Stamp]), for viewers that do not decode.
//
// It keeps one promise: every frame from the first key frame on is sent, late
// rather than not at all, because each one refers to the one before. Only after a
// second (or [Config].LagMS) does it jump, to a key frame, and the capture counter
// tells of the hole.
//
// A stream can be a sound in place of a clip, off by default: a tone of 20 ms a
// packet, in G.711, whose two frequencies tell the packet's counter ([ReadTone]), so
// that a viewer hears what was missed, heard twice or out of step with the picture.
//
// It has no encoder. Its clips have a key frame every ten frames, each in three takes
// that have them at other frames, and it answers a wish for one by going over to the
// take that is next: after three frames at most, one and a bit on average, like a
// busy encoder. One clip has a single take and a long gap on purpose.
//
// It counts its pictures, hands the count over as its state ([State]), and goes on from
// what it was given; the stamps show both. It listens at SLIPSTREAM_CONTROL, where a
// version that publishes by RTSP is asked for key frames.
//
// It can be made to need a sensor ([Config].Sensor): a video device (V4L2) that one version
// at a time takes pictures from, the one that has the baton (package stream/control). The
// scene stays the same, but without the sensor's pictures nothing of it is shown.
//
// Rejected: pacing by a ticker from the process's start (two versions would show
// the same scene at different times and no jump could be measured), and a fault
// at a signal from outside (the fault must be signed and packaged like the rest
// of a version).
package camera
