// Package core is the forwarder: the one process between apps and viewers that
// never stops.
//
// It keeps one promise: as long as the permanent version sends pictures, every
// viewer gets pictures, whatever a version on trial, the agent or a viewer does.
//
// # One operation
//
// Each source (one run of an app) fills an arena per stream, all the time,
// whether anybody watches it or not. A viewer is a cursor into the arena of the
// line that its stream follows. Switch and revert are the same operation, follow:
// viewers go on with what the other line has since its last key frame, then
// follow it live. Sequence numbers go on; times are the capture clock that all
// of a device's sources share, so they go on too and never drift.
//
// What would be shown a second time is bounded (15 frames, 500 ms). A longer
// past is taken only after a key frame was asked for and did not come within
// three frame intervals. While a trial runs, every living source is asked for a
// key frame each 0.2 s, so that there is never much to send again: at the median half
// of that time and an encoder's answer, 100 to 130 ms. The price is the encoders':
// with a key frame of eight times another frame's size, and 30 frames a second, the
// same quality takes 1.9 times the bits for as long as the trial runs (1.6 times with
// an interval of 0.3 s, against one of 2 s), and an encoder that keeps its bitrate
// shows a coarser picture. Both versions pay it, so that they stay comparable.
//
// # Whole frames
//
// Viewers are given whole access units only. A version that dies in the middle
// of a frame leaves nothing of that frame behind, and the next picture that
// viewers get is the old version's key frame. The price is the time between a
// frame's first and last packet.
//
// # The dead man's switch
//
//	steady ──orders name a trial──▶ armed ──key frames on all streams──▶ switched ──hold──▶ held ──settle──▶ steady
//	                                  └──────────────┴───────── revert ──────┴────────────────┘
//
// Orders stand until they are replaced, whether or not the agent still lives.
// The forwarder reverts by itself when the trial's app exits, a publish socket
// closes, a stream stalls or breaks its declaration or a required invariant, or the
// deadline passes.
// Hold turns the deadline into a lease, so that an agent that dies between its
// question and its answer still ends in a revert. Settle follows the commit
// point and always wins: from there on the new version is the permanent one even
// if the lease ran out meanwhile. A trial that has ended is never armed again, by
// the next forwarder neither. A test walks through every state that this switch and
// the agent's core can reach together, with all that can go wrong between them.
//
// # Better or worse than before
//
// Both versions see the same camera at the same time, so the one on trial is
// compared with the permanent one over the same seconds: frame rate, key frames,
// gaps, bitrate, picture size, and how late frames come. If the permanent one is
// gone or frozen, its own last ten minutes stand for it; they are kept with the
// stream, and its next run goes on with them. How invariants are judged is said at
// the type invariant. Missing evidence is no evidence: hold is not granted before
// each required invariant was judged over a whole window.
//
// # Old versions that do not run
//
// A frozen source is asked for nothing. Before viewers go back to it the forwarder
// opens its freezer, forgets what it had sent, and shows it from its next key frame
// on. If the old version was stopped, its viewers are held, the revert is told at
// once, and told again when the next run has them back. The gap in a report is
// measured where frames leave for the viewers' sockets.
//
// # Four ways to see a death
//
// Each suffices alone, and a report says which one it was:
//
//   - futex: the publishing process held a lock, which the kernel releases before
//     it tears the process's memory down; each lock has a thread that waits for it
//   - pidfd: the app's process has ended, its memory is gone
//   - eof: the publish connection has ended, whoever had it open
//   - stall: no frame came in time; the only one that sees a hang
//
// With 500 MB of memory the first comes tens of milliseconds before the next two.
// The lock is the app's to offer, and nothing rests on it: its file is checked, read
// only by calls that fail where a look at memory would crash, and ignored as soon
// as it says what no kernel writes. An app that declares itself dead ends its own
// trial.
//
// # One thread
//
// All of it runs on one locked thread around one epoll set, with FIFO priority
// where the system grants it. What publishers send is taken in bounded portions, and
// a FIFO thread that never came to rest rests for a moment all the same, so that
// the device stays usable. Nothing is allocated per packet. Nothing blocks: a viewer
// that does not read falls behind, jumps to the latest key frame when it is lapped,
// and is closed after five seconds without taking anything; no other viewer waits
// for it.
//
// # Kinds of viewers
//
// All are the same cursors, one for the picture and one for its sound, and differ in
// their egress only. A peer is an established WebRTC session that the gateway has
// handed over (see package handover) with its keys and a UDP socket connected to the
// viewer. From then on the core alone encrypts, sends and listens to it, and a
// gateway that dies ends no peer:
//
//	STUN check    authentic: answered as the lite side of ICE, and the consent renewed
//	SRTCP         opened once: NACK, picture loss, reports, BYE
//	DTLS record   answered with the handshake's last flight at most; nothing in it
//	              can be read here, a close_notify neither
//	anything else counted
//
// A peer ends when its consent is 30 s old, it says BYE, takes nothing for five
// seconds, or the gateway asks for it. Whatever it sends, a bounded part of it is
// looked at before the others have their turn.
//
// A leg is a peer whose socket the device has connected itself, to a relay that can
// reach it no other way. It is the agent's. Something goes out before there is a
// picture, so that NAT lets the relay's checks in. Where UDP is blocked it goes over
// a stream socket, each packet behind its length.
//
// A player is an RTSP viewer, handed over at its PLAY. Over TCP an access unit is one
// call, which the connection may cut anywhere: what is left of the packet that was
// cut goes first, then replies, then the next packet, or the latest key frame if the
// viewer was lapped. Over UDP each track has its two sockets, and the connection is
// there for requests. Those that need no gateway are answered here (OPTIONS,
// GET_PARAMETER, SET_PARAMETER, TEARDOWN); another one is passed on and waited for,
// with those behind it, and answered by 503 when no gateway does. A player ends with
// its connection, by TEARDOWN or BYE, when it sends what is no RTSP, takes nothing for
// five seconds, or, over UDP, is not heard of for its timeout.
//
// A subscription is a unix connection of the gateway, which sends the packets on
// itself (RTSP over TLS), and ends with the gateway.
//
// To a peer or player over UDP an access unit is one call as well, of up to 64 packets.
// Those of one size are one message, which the kernel cuts into datagrams (UDP_SEGMENT,
// GSO), so that routing, filters and queues are passed once: less than half the CPU
// that one call for each packet takes. They are sealed right where the kernel takes
// them from.
// A viewer whose socket or way refuses that (packets over its MTU, a tunnel, with some
// kernels a device that computes no checksums) is given packets one by one from then
// on, those that were refused first, and counted in the status; the option NoGSO does
// so for all.
//
// Exactly one writer seals with a key, the core thread, and keys are remembered so
// that none is taken twice. A packet index belongs to one packet: what a viewer
// lost is looked up in the arena by the line that it came from, sealed again, and
// is byte for byte what was sent. No packet is kept per viewer.
//
// # Another forwarder
//
// Sessions outlive the process. What a line and a viewer know of themselves is plain
// data in sealed memory files: arenas with their index, cursors, packet indices, the
// viewers' keys. All that and every socket is kept a second time by whoever starts
// the forwarder (see keep.go), and comes back to the next one:
//
//	succession  a new process connects, is given everything between two turns of the
//	            loop, and sends its first frame; then the one before it ends. If that
//	            takes over 500 ms it is killed, and the one before goes on. Never
//	            during a trial
//	crash       whoever kept the descriptors starts a forwarder with them
//
// Either way the next process serves the permanent version, from the very packet
// that the one before would have sent. Each step of the bookkeeping leaves it good to
// go on from: what is about to be sent by one call is noted before, so that its indices
// count as used up whether it left or not, and the viewer is sent those packets again,
// byte for byte. Where a line's memory is lost, indices are skipped, and none is used twice. A stream socket
// says itself how much it took of a write that was not noted, so that the next one
// begins at the very byte. What cannot be excluded: a kill between taking a packet
// from a publisher and keeping it costs a frame, for which a key frame is asked at
// once. Forwarders that were built with another form of that memory do not succeed
// each other; a layout number, made from the types, tells.
//
// In return the forwarder keeps copies of what would die with the agent: descriptors under
// names, a bounded number, which it never looks at and closes where nobody waits. They go
// to the next agent and to a successor, and are not among those that a crash leaves: the
// agent has the others, and gives all again.
//
// The memory holds the viewers' keys: it goes to nobody but the process that starts
// the forwarder, and to a successor of the same user or root.
//
// # Codecs
//
// H.264, H.265 and MJPEG, Opus, G.711 and AAC are looked at as far as RTP shows them:
// where a picture begins and ends, whether it is a key frame, what a decoder must know
// before it ([codec]). What viewers could not be shown is refused when it is published
// or as soon as it is seen, with a sentence that names what to set: pictures that are
// reordered, layers, other packetizations, more than the declared size and profile. A
// version may not publish what viewers of its stream have not agreed to, another codec
// or a greater profile, unless its orders say that it breaks with them: then a switch
// closes those who cannot follow, with a sentence that says why, and so does the revert.
// WebRTC viewers and RTSP viewers are told it by the last packet, an RTCP BYE.
//
// The parameter sets of H.264 and H.265 go in front of every key frame that comes
// without them. A switch compares those of both versions, and its report says whether
// they are the same, came in band or were put there.
//
// # Sound
//
// A sound is a stream of its own on the same capture clock, with numbers and an RTP
// clock of its own. Each packet of it is a unit and a key frame. It goes where its
// picture goes, in the same instant: a trial waits for pictures and not for sound that
// may be silent, and a revert of the picture that waits for a key frame keeps the
// sound waiting. Viewers go on half a packet behind what they had; nothing is heard
// twice, also when a publisher puts its capture clock back, nothing that came more than 60 ms ago is
// played, and nothing is squeezed. Its times count samples, and are corrected only
// when they are 10 ms from the capture clock, because players hear each correction.
//
// What a decoder of AAC must know stands in the SDP alone, so viewers of a version
// that sends it in another form are closed, and come back to the new one.
//
// # What it does not do
//
// It does not decode, and does not protect against a publisher that sends well-formed
// rubbish: that is what a trial, its invariants and the greenlight are for. B slices of
// H.265 are taken, since encoders of low delay use them without reordering; the
// sequence parameter set is believed.
//
// # Rejected
//
// Sending packets as they come (lower latency by a fraction of a millisecond):
// a crash in the middle of a frame would leave viewers half a picture. A queue per
// viewer: memory and copies grow with the viewers, and a full one must drop
// packets blindly. Restarting sequence numbers or times at a switch and telling
// viewers so: decoders and jitter buffers stumble over both. One thread that waits
// for all locks (FUTEX_WAITV): it needs Linux 5.16, and we begin at 5.10. FIFO
// priority on a single processor: Go's runtime has loops that wait for another
// thread, which would not get to run. The libraries for SRTP, STUN and RTCP: they
// allocate for every packet (4 times with AES-CM), and the one for STUN brings DTLS
// into this process; tests hold ours against them. Having an app publish an access
// unit by one call, or waiting for the rest of one without telling Go's runtime that
// the thread sleeps: what it saves cannot be measured.
package core
