// Package ingest takes RTSP publishers of one app into the forwarder, so that
// ffmpeg or GStreamer publish as to any RTSP server.
//
// It promises to add nothing and to hide nothing: pictures and times go on as they
// came, and lost packets stay lost. Each publisher has one connection of
// [slipstream/stream/publish], which closes at once when the publisher leaves, and
// the forwarder may revert. Only packets that are too large for a viewer's path,
// such as ffmpeg's by default, are cut. Whatever
// the forwarder refuses ends the RTSP session, and its sentence is logged where the
// app's technician looks.
//
// It defends the app's streams against other users of the machine: the path holds a
// secret, compared in constant time, and a wrong one looks like a path that does not
// exist. The secret comes by the environment; but a program that is given its
// address as an argument shows it to everybody who lists processes. The listening socket comes from whoever started the process, so
// that nobody else can take the port before it.
//
// It does not ask publishers for key frames, as RTSP has no way that ffmpeg would
// follow: set the encoder's key frame interval to half a second or less (ffmpeg:
// -g 15), or viewers see that much of the past again at a revert.
//
// # Rejected
//
// RTP over UDP: on one machine it can only lose packets. SETUP for it is answered
// 461, and ffmpeg then takes TCP by itself. A capture clock from RTCP sender reports:
// ffmpeg computes them from the wall clock at its start, not from the capture, so
// arrival times, which the forwarder smooths, are nearer to the truth. Putting
// whole frames together and packing them anew: it must bound a frame's units and
// hides what was lost; cutting needs neither.
package ingest
