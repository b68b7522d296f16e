// Package bench measures what Slipstream promises, beside a floor, a control or a peer
// that was measured over the same seconds on the same machine.
//
// It runs the product's own binaries with real viewers. Figures are medians and
// percentiles of many runs. Targets are those of design §15 and of the research on
// streams; a figure that has some is printed once more with a verdict: met, missed, or
// not judged, where there is no peer to be compared with. Nothing here fails.
//
// # Loads
//
// A film of 720p at 30 frames and 2 Mbit/s a second plays to 1, 10 and 100 viewers, in
// turns with no server at all (the floor), with ours, and with MediaMTX if there is one.
//
//   - CPU per packet: user and system time of the server's processes (the forwarder and
//     the gateway, and the ingest where one takes part; not the app, and not the
//     viewers) over the window, by the packets that viewers got.
//   - Memory: their resident memory at the window's end.
//   - Latency: a frame is stamped before its packets are made. Its first packet, and
//     its last one (whole frame), are counted until a viewer has read them from its
//     socket. It includes the making and writing of packets and the waking of the
//     reader, whoever the server is.
//   - The floor: the same publisher writes the same packets as plain RTP to the
//     readers' UDP sockets, in as few messages as it can and with the priority that the
//     forwarder has. It includes all of the above but a server.
//   - Added latency: by how much a server is over the floor that was measured just
//     before it, run by run, percentile less percentile; the figure is the median of
//     the runs. It holds what the server waits for, does and is woken for. Ours sends
//     no packet of a frame before it has the last one, so its first packets are later
//     than they had to be by the time that the app takes to write a frame. It may be
//     below zero where reading costs more than serving: the floor's readers share the
//     processors with it, too.
package bench
