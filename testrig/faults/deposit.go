package faults

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
)

// deposits has an agent give whatever there is to be kept, under any names, ask for it,
// and leave in the middle. Some of it blocks whoever closes it.
func deposits(s *sequence, _ context.Context) error {
	s.misled = true
	err := s.withDescriptors(1+s.IntN(orders.MaxKeptEach), func(fds []int) {
		c, err := orders.Dial(s.socket("orders.sock"))
		if err != nil {
			return
		}
		defer c.Close()
		for n := range 1 + s.IntN(2*orders.MaxKept) {
			r := orders.Request{Req: uint64(n + 1), Keep: string(s.noise(2 * orders.MaxKeptName))}
			switch s.IntN(8) {
			case 0:
				r = orders.Request{Req: r.Req, Drop: "a"}
			case 1:
				r = orders.Request{Req: r.Req, Kept: true}
			case 2:
				r = orders.Request{Req: r.Req, DropOthers: true}
			case 3, 4, 5:
				r.Keep = string(rune('a' + s.IntN(26)))
			}
			if c.Send(r, fds[:s.IntN(len(fds)+1)]...) != nil {
				return
			}
		}
	})
	if err != nil || s.dice(2) {
		return err
	}
	kept, err := orders.TakeKept(s.socket("orders.sock"), time.Second)
	if err != nil {
		return nil // the forwarder is stopped, or somebody else has come
	}
	for _, fds := range kept {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	return nil
}
