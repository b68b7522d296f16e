package agent_test

import (
	"encoding/json"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
)

// keep is what the fake forwarder does with the agent's descriptors. Its lie: it never drops
// what an earlier agent had given.
func (f *fake) keep(q orders.Request, fds []int) {
	switch {
	case q.Keep != "":
		for _, old := range f.kept[q.Keep] {
			unix.Close(old)
		}
		f.kept[q.Keep] = fds
	case q.Drop != "":
		for _, old := range f.kept[q.Drop] {
			unix.Close(old)
		}
		delete(f.kept, q.Drop)
	case q.Kept:
		for name, fds := range f.kept {
			m := orders.Message{Req: q.Req}
			for range fds {
				m.Kept = append(m.Kept, name)
			}
			if raw, err := json.Marshal(m); err == nil {
				f.conn.WriteMsgUnix(raw, unix.UnixRights(fds...), nil)
			}
		}
		f.tell(orders.Message{Req: q.Req, Result: orders.ResultOK})
	}
}
