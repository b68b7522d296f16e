// Package ingest takes RTSP publishers of one app into the forwarder, so that
// ffmpeg or GStreamer publish as to any RTSP server.
//
// It promises to add nothing and to hide nothing: pictures, sound and times go on
// as they came, and lost packets stay lost. A publisher announces one picture, one
// sound, or one of each; each has one connection of [slipstream/stream/publish],
// and all close at once when the publisher leaves, so that the forwarder may revert.
// Only packets of pictures that are too large for a viewer's path, such as
// ffmpeg's by default, are cut: into fragments of RFC 6184 (H.264) and RFC 7798
// (H.265), or by the scan's offset (JPEG, RFC 2435). Packets of sound (Opus,
// G.711, AAC) stay whole. Whatever is not forwarded, or the forwarder refuses, ends
// the RTSP session, and the sentence that says why is logged where the app's
// technician looks.
//
// # Which stream is whose
//
//	rtsp://HOST/SECRET        picture → the first declared stream
//	rtsp://HOST/SECRET/NAME   picture → stream NAME
//
// The sound beside a picture goes to the stream that the manifest names as that
// one's audio. A medium that comes alone, picture or sound, goes to the stream that
// the path names.
//
// # The capture clock
//
// Sender reports (RFC 3550 §6.4.1) tie RTP time to the publisher's wall clock, and
// are the only thing that says which sound belongs to which picture. Measured, with
// an H.264 picture and Opus, over TCP on one machine:
//
//	ffmpeg 5.1        a report before each medium's first packet, then each 5 s, all
//	                  on one straight line, common to both media, that begins at
//	                  the start of its output. Packets come up to 12 ms before
//	                  what it calls their capture, or, with an encoder that looks
//	                  ahead, 1.1 s after it, which is then the truth
//	GStreamer 1.22    the first report 1.3 to 2 s after the first packet, steady to
//	                  10 µs; it tells when packets were sent (0.2 to 4 ms before
//	                  they came), with the whole latency of the pipeline in it, the
//	                  same for both media
//
// So reports are believed for what they say of the media among each other, and of
// the time of capture as far as it can be true: a session whose packets arrive
// before they were captured, or more than 4 s after, is moved as a whole, so that
// its earliest packets arrive when they are captured. A wall clock that is set does
// not move anything, and a medium whose clock runs off is followed slowly. Until a
// medium's first report the forwarder goes by arrival; a session whose first report
// comes later than its packets keeps to what those were given, and only the distance
// between its media is put right.
//
// # Who may publish
//
// It defends the app's streams against other users of the machine and other apps.
// The kernel (sock_diag) tells of the process that opened the other end of a TCP
// connection on this machine its user, who must be the app's or root, and, since
// Linux 5.10, its cgroup, which must be the slot's where the slot has one. It does
// not tell which process it is, nor its session, nor who holds the descriptor now;
// and where all apps run as one user in one cgroup, any of them could as well trace
// the others. Of a peer in another network namespace, or without the kernel's
// inet_diag, it tells nothing. The secret is therefore needed as well: it is
// compared in constant time, and a wrong one looks like a path that does not exist.
// It comes by the environment; but a program that is given its address as an
// argument shows it to everybody who lists processes. The listening socket comes
// from whoever started the process, so that nobody else can take the port before it.
//
// It does not ask publishers for key frames, as RTSP has no way that ffmpeg would
// follow. An app that listens at SLIPSTREAM_CONTROL is asked there, by the agent; of
// another one set the encoder's key frame interval to half a second or less (ffmpeg:
// -g 15), or viewers see that much of the past again at a revert.
//
// # Rejected
//
// RTP over UDP: on one machine it can only lose packets. SETUP for it is answered
// 461; ffmpeg then takes TCP by itself, GStreamer (rtspclientsink) needs protocols=tcp.
// AAC as LATM (RFC 6416), GStreamer's first choice: a second form of the same, which
// sink_1::payloader=rtpmp4gpay avoids. Putting whole frames
// together and packing them anew: it must bound a frame's units and hides what was
// lost; cutting needs neither. Finding the publisher's process in /proc by its
// socket: it can be another one by then.
package ingest
