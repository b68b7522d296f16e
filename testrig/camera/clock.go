package camera

import "time"

// FrameRate of all clips, in frames a second.
const FrameRate = 30

// rtpClock is the RTP clock rate of video, in Hz.
const rtpClock = 90000

// FrameAt is the number of the newest frame at a CLOCK_MONOTONIC time.
func FrameAt(mono time.Duration) uint64 {
	return uint64(mono) * FrameRate / uint64(time.Second)
}

// FrameTime is when frame n is captured: the first instant t with FrameAt(t) = n.
func FrameTime(n uint64) time.Duration {
	return time.Duration((n*uint64(time.Second) + FrameRate - 1) / FrameRate)
}
