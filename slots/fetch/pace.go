package fetch

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

const (
	maxStep   = 64 << 10 // bytes read at once
	minStep   = 1 << 10
	stepsASec = 20 // by which a limited download is read

	// A kernel that is read slowly still takes in a window full at once. These many
	// bytes, or a quarter of a second's, are enough for a round trip of that time.
	minWindow = 16 << 10
	maxWindow = 128 << 10 // above it the kernel's own adaptation does better
)

// pace lets bytes through at a rate.
type pace struct {
	bucket *rate.Limiter // nil: all of them
	step   int           // bytes at once
}

func newPace(maxRate int64) pace {
	if maxRate == 0 {
		return pace{step: maxStep}
	}
	step := int(min(max(maxRate/stepsASec, minStep), maxStep))
	return pace{bucket: rate.NewLimiter(rate.Limit(maxRate), step), step: step}
}

// wait returns when n bytes that were read, at most a step, may be handed on.
func (p pace) wait(ctx context.Context, n int) error {
	if p.bucket == nil || n == 0 {
		return nil
	}
	return p.bucket.WaitN(ctx, n)
}

// narrow bounds what the kernel takes in ahead of who reads. It does so before the
// connection is made, when the window's scale is chosen.
func narrow(maxRate int64) func(network, address string, c syscall.RawConn) error {
	window := max(maxRate/4, minWindow)
	if maxRate == 0 || window > maxWindow {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		// A kernel that refuses it leaves a limit that is kept over seconds, not over instants.
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, int(window)) })
	}
}
