package agent

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/orders"
)

// What would die with the agent lives on in the forwarder, which keeps a second
// descriptor of all of it: the states and descriptors that apps have handed over, and
// the sockets that manifests declare. The agent gives each one the moment it has it,
// before it lets the app know that it was heard, and all of them again to each forwarder
// that it meets. The forwarder's own are kept by the agent, so either may die alone.

// keepFunc has copies of descriptors kept under a name, in place of those before. None
// lets go of the name.
type keepFunc func(name string, fds ...int)

// keptApp begins the names of descriptors that apps have stored; source and name follow.
const keptApp = "app/"

// takeBackLimit bounds the wait for a forwarder that does not answer.
const takeBackLimit = time.Second

// keepStored is told what a process has stored under a name.
func (a *Agent) keepStored(process, name string, fds []int) {
	if isInstance(process, forwarderName) || name == stateName { // its own, and what a start is given for a moment
		return
	}
	a.forward.keep(keptApp+process+"/"+name, fds...)
}

// giveAll tells a forwarder all that it is to keep.
func (a *Agent) giveAll() {
	a.sup.TellStored()
	a.sockets.tell()
	a.states.tell()
	a.forward.ask(question{Request: orders.Request{DropOthers: true}})
}

// takeBack gets what an agent before had, if a forwarder lives that has kept it.
func (a *Agent) takeBack() {
	kept, err := orders.TakeKept(a.forward.path, takeBackLimit)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
			a.log.Error("what apps had handed over is lost", "reason", err)
		}
		return
	}
	for name, fds := range kept {
		if err := a.takeOne(name, fds); err != nil {
			a.log.Warn("a kept descriptor is of no use", "name", name, "reason", err)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

// takeOne copies what it takes.
func (a *Agent) takeOne(name string, fds []int) error {
	if rest, ok := strings.CutPrefix(name, keptState); ok {
		return a.states.restore(rest, fds)
	}
	if rest, ok := strings.CutPrefix(name, keptSocket); ok {
		return a.sockets.restore(rest, fds)
	}
	source, stored, _ := strings.Cut(strings.TrimPrefix(name, keptApp), "/")
	if !slices.ContainsFunc(a.state.Apps[:], func(app App) bool { return string(app.Source) == source }) {
		return errors.New("it is of a run that nobody knows")
	}
	return a.sup.Restore(source, stored, fds)
}
