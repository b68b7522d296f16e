package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
)

// keptAgent begins the names of what a successor is given of the agent's; a number and
// the agent's own name follow.
const keptAgent = "agent."

// deposit is what the agent would lose with its process, and gets back from here. The
// next agent asks for it before it does anything else, and each agent gives all of it
// anew to each forwarder, so that either may die alone.
type deposit struct {
	of    map[string]deposited
	count int // of descriptors
}

// deposited is what was given under one name.
type deposited struct {
	fds  []int
	over uint64 // the connection over which it came
}

// put takes descriptors over, in place of earlier ones of the name. After an error it
// has taken none, and those earlier ones stay.
func (d *deposit) put(name string, fds []int, over uint64) error {
	old := d.of[name]
	switch {
	case len(name) > orders.MaxKeptName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("a name that is not of 1 to %d printable characters", orders.MaxKeptName)
	case len(fds) == 0 || len(fds) > orders.MaxKeptEach:
		return fmt.Errorf("%d descriptors of the name %q, allowed are 1 to %d", len(fds), name, orders.MaxKeptEach)
	case d.count-len(old.fds)+len(fds) > orders.MaxKept:
		return fmt.Errorf("no room for %q: %d descriptors are kept, allowed are %d", name, d.count, orders.MaxKept)
	}
	d.drop(name)
	d.of[name] = deposited{slices.Clone(fds), over}
	d.count += len(fds)
	return nil
}

// drop closes aside: what an app has made may take its time.
func (d *deposit) drop(name string) {
	if old, ok := d.of[name]; ok {
		delete(d.of, name)
		d.count -= len(old.fds)
		go closeForeign(old.fds)
	}
}

func (d *deposit) dropOthers(over uint64) {
	for name, old := range d.of {
		if old.over != over {
			d.drop(name)
		}
	}
}

// list is all that is kept, one name for each descriptor.
func (d *deposit) list() (names []string, fds []int) {
	for _, name := range slices.Sorted(maps.Keys(d.of)) {
		for _, fd := range d.of[name].fds {
			names, fds = append(names, name), append(fds, fd)
		}
	}
	return names, fds
}

func (d *deposit) close() {
	for name := range d.of {
		d.drop(name)
	}
}

// heirlooms are the descriptors for a successor, by name.
func (d *deposit) heirlooms(into map[string]int) {
	for name, kept := range d.of {
		for n, fd := range kept.fds {
			into[keptAgent+strconv.Itoa(n)+"."+name] = fd
		}
	}
}

// restoreDeposit takes what a predecessor had of the agent's. The agent connects next,
// and says what of it counts.
func (c *Core) restoreDeposit() {
	found := map[string][]int{}
	for n := range orders.MaxKeptEach {
		prefix := keptAgent + strconv.Itoa(n) + "."
		for _, key := range slices.Collect(maps.Keys(c.inherited)) {
			if name, ok := strings.CutPrefix(key, prefix); ok {
				fd, _ := c.inherited.take(key)
				found[name] = append(found[name], fd)
			}
		}
	}
	for name, fds := range found {
		if err := c.deposit.put(name, fds, 0); err != nil {
			c.log.Warn("a descriptor of the agent's is lost", "reason", err)
			go closeForeign(fds)
		}
	}
}

// keepForAgent does what a request says of the deposit. What is refused is closed
// aside, too; the descriptors are the core's in any case.
func (c *Core) keepForAgent(req *orders.Request, fds []int) (err error) {
	mine := slices.Clone(fds)
	for i := range fds {
		fds[i] = -1
	}
	switch {
	case req.Keep != "":
		if err = c.deposit.put(req.Keep, mine, c.agent.number); err == nil {
			return nil
		}
	case req.Drop != "":
		c.deposit.drop(req.Drop)
	case req.DropOthers:
		c.deposit.dropOthers(c.agent.number)
	case req.Kept:
		err = c.giveBack(req.Req)
	}
	go closeForeign(mine)
	return err
}

// maxLastWords bounds what is heard of an agent whose place is taken.
const maxLastWords = 4 * orders.MaxKept

// hearOut takes what an agent gave to keep before its process ended: another one may be
// here before that was read. Its other requests are answered by the next one's orders.
func (c *Core) hearOut() {
	for n := 0; c.agent != nil && n < maxLastWords; n++ {
		var req orders.Request
		fds, err := receiveRequest(c.agent.fd, c.agent.buf[:], c.agent.oob[:], &req)
		if errors.Is(err, errNothing) || errors.Is(err, errGone) {
			closeAll(fds)
			return
		}
		if err == nil && (req.Keep != "" || req.Drop != "" || req.DropOthers) {
			err = c.keepForAgent(&req, fds)
		}
		if err != nil {
			c.log.Error("request refused", "reason", err)
		}
		closeAll(fds)
	}
}

// giveBack answers with copies of all that is kept.
func (c *Core) giveBack(req uint64) error {
	names, fds := c.deposit.list()
	for n := range batches(names) {
		if err := c.tellWith(orders.Message{Req: req, Kept: names[:n]}, fds[:n]); err != nil {
			return err
		}
		names, fds = names[n:], fds[n:]
	}
	c.tell(orders.Message{Req: req, Result: orders.ResultOK})
	return nil
}

// batches yields how many of the names go into one message each, with their descriptors.
func batches(names []string) func(yield func(int) bool) {
	const maxBytes = 5000 // JSON may say each by six; a message with one long name fits always
	return func(yield func(int) bool) {
		for len(names) > 0 {
			n, bytes := 1, len(names[0])
			for n < min(len(names), heirloomBatch) && bytes+len(names[n]) <= maxBytes {
				bytes += len(names[n])
				n++
			}
			if !yield(n) {
				return
			}
			names = names[n:]
		}
	}
}

// tellWith is tell for a message with descriptors, which stay ours.
func (c *Core) tellWith(m orders.Message, fds []int) error {
	body, err := json.Marshal(m)
	if err == nil {
		err = unix.Sendmsg(c.agent.fd, body, unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	if err != nil {
		return fmt.Errorf("give back what is kept: %w", err)
	}
	return nil
}
