// Package demo shows Slipstream's main job from end to end, on real video, and
// judges it: two devices, a panel, viewers over WHEP and RTSP, and updates that
// go well, crash, hang, never get a greenlight, or are signed by a stranger.
//
// Every figure is measured at the viewers. What the device says about itself is
// used for two things only: what the outcome was, which is compared with what it
// has to be, and when the forwarder noticed a fault, which is compared with the
// time that the faulty camera itself wrote down.
//
// The control device runs the same camera with the same viewers, and no update
// touches it. Machines stall; a gap is therefore judged against the control
// stream's longest gap over the same seconds, never alone.
//
// It is no benchmark: it shows one update of each kind.
package demo
