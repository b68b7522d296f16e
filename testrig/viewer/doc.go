// Package viewer is the measuring instrument: viewers that play a stream over
// WHEP or RTSP as strangers would, write down when each packet came, and say
// afterwards what a person in front of the picture would have suffered.
//
// It keeps one promise: every figure of a [Report] comes from packets that
// arrived, by the arrival's CLOCK_MONOTONIC time and the stamp that the sample
// camera puts into each access unit. Nothing is taken from what the forwarder or
// the agent say about themselves.
//
// A frame is lost when it is missing from the run of one version's pictures, when
// packets of it are missing, or when it cannot be decoded because the frame that
// it refers to did not come right before it: the sample camera's frames refer to
// the one before and to nothing else, so this is exact without a decoder. Where
// one version follows another nothing is lost if the first frame is a key frame;
// scenes that nobody showed there count as skipped, scenes shown again as replayed.
//
// A stream without stamps (another app than the sample camera) is measured for
// gaps, times and lost packets only.
//
// It does not decode or conceal, and asks for packets again only when it is told
// to ([Repair]), so that a defect is seen and not mended. A packet has arrived when it
// was read from the socket, and not when a library has decrypted it. Times include the
// viewer process's own waiting for a processor; a control stream in the same process
// carries the same error, which is why gaps are compared and never judged alone.
package viewer
