package agent_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent/supervise"
	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

// TestMain lets this binary stand in for others: started by the name of the
// forwarder it speaks package orders over a real socket, as a process of its
// own; as "tell" it is an app's sd_notify.
func TestMain(m *testing.M) {
	supervise.Launch()
	switch filepath.Base(os.Args[0]) {
	case "slipstream-forward":
		run := flag.String("run", "", "run directory")
		succeed := flag.Bool("succeed", false, "take over")
		flag.Parse()
		if err := fakeForward(*run, *succeed); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "slipstream-ingest": // that nobody publishes to
		time.Sleep(time.Hour)
	case "tell":
		say := func() error { return tell(os.Args[1]) }
		switch os.Args[1] {
		case "store":
			say = func() error { return store(os.Args[2:]) }
		case "sensor":
			say = sensor
		}
		if err := say(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// tell says a word to the agent and waits until it was heard: from a sender that
// has ended it would not be believed (sd_notify_barrier(3)).
func tell(word string, fds ...int) error {
	heard, barrier, err := os.Pipe()
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	to := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
	if len(fds) > 0 {
		if err := unix.Sendmsg(socket, []byte(word), unix.UnixRights(fds...), to, 0); err != nil {
			return err
		}
		word = "BARRIER=1"
	}
	if err := unix.Sendmsg(socket, []byte(word), unix.UnixRights(int(barrier.Fd())), to, 0); err != nil {
		return err
	}
	barrier.Close()
	_, err = io.Copy(io.Discard, heard)
	return err
}

// fake is a forwarder without media: the trial's source counts as followed a
// moment after it was armed. Pidfds, deadlines and leases are real.
type fake struct {
	run string

	mu        sync.Mutex // guards what follows
	conn      *net.UnixConn
	kept      map[string][]int
	permanent orders.SourceID
	trial     *orders.Trial
	phase     string
	timer     *time.Timer
	pidfds    map[orders.SourceID]int // of living processes
	freezers  map[orders.SourceID]int
	over      map[orders.TrialID]*orders.Reverted
	waiting   *orders.Reverted // that nobody could go back to
}

const fakeSwitchDelay = 20 * time.Millisecond

func fakeForward(run string, succeed bool) error {
	if succeed {
		if err := fakeTakeOver(run); err != nil {
			return err
		}
	}
	path := filepath.Join(run, "orders.sock")
	os.Remove(path)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(run, "pub"), 0o755); err != nil {
		return err
	}
	f := &fake{run: run, phase: "steady", kept: map[string][]int{}, pidfds: map[orders.SourceID]int{}, freezers: map[orders.SourceID]int{}, over: map[orders.TrialID]*orders.Reverted{}}
	if err := fakeReady(run, succeed); err != nil {
		return err
	}
	served := make(chan struct{})
	close(served)
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		if f.conn != nil {
			f.conn.CloseRead() // what the agent has given is heard out
			<-served
			f.conn.Close()
		}
		f.mu.Lock()
		f.conn = conn
		f.mu.Unlock()
		over := make(chan struct{})
		served = over
		_ = fakeStore("ledger") // the agent may be a new one, and not there yet
		go func() {
			defer close(over)
			f.serve(conn)
		}()
	}
}

func (f *fake) serve(conn *net.UnixConn) {
	buf, oob := make([]byte, orders.MaxMessage), make([]byte, 256)
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		var fds []int
		if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
			for i := range messages {
				more, _ := unix.ParseUnixRights(&messages[i])
				fds = append(fds, more...)
			}
		}
		var q orders.Request
		if err := json.Unmarshal(buf[:n], &q); err != nil {
			continue
		}
		f.mu.Lock()
		f.request(q, fds)
		f.mu.Unlock()
	}
}

func (f *fake) tell(m orders.Message) {
	if raw, err := json.Marshal(m); err == nil && f.conn != nil {
		f.conn.Write(raw)
	}
}

func (f *fake) request(q orders.Request, fds []int) {
	switch {
	case q.Orders != nil:
		f.obey(q.Orders, fds)
		f.tell(orders.Message{Req: q.Req, Result: orders.ResultOK})
	case q.Hold != nil && f.trial != nil && f.trial.ID == q.Hold.Trial && f.phase != "armed":
		f.phase = "held"
		f.timer.Stop()
		f.timer = f.after(f.trial.ID, time.Duration(q.Hold.LeaseMS)*time.Millisecond, orders.CauseLease)
		f.tell(orders.Message{Req: q.Req, Result: orders.ResultHeld})
	case q.Hold != nil:
		f.tell(orders.Message{Req: q.Req, Result: orders.ResultReverted, Revert: f.over[q.Hold.Trial]})
	case q.Keep != "", q.Drop != "", q.DropOthers, q.Kept:
		f.keep(q, fds)
	case q.Settle != nil:
		f.permanent = q.Settle.Source
		f.disarm()
		f.tell(orders.Message{Req: q.Req, Result: orders.ResultSettled})
	case q.Revert != nil:
		f.revert(q.Revert.Trial, q.Revert.Reason)
		f.tell(orders.Message{Req: q.Req, Result: orders.ResultReverted, Revert: f.over[q.Revert.Trial]})
	case q.Status:
		st := &orders.Status{Permanent: f.permanent, Phase: f.phase}
		followed := f.permanent
		if f.trial != nil {
			st.Trial = f.trial.ID
			if f.phase != "armed" {
				followed = f.trial.Source
			}
		}
		if f.pidfds[followed] == 0 {
			followed = ""
		}
		st.Streams = []orders.StreamStatus{{Name: "main", Followed: followed, Viewers: 1}}
		for source := range f.pidfds { // a lie: no app publishes here
			st.Streams[0].Lines = append(st.Streams[0].Lines, orders.LineStatus{Source: source, Alive: true})
		}
		f.tell(orders.Message{Req: q.Req, Result: orders.ResultOK, Status: st})
	}
}

func (f *fake) obey(o *orders.Orders, fds []int) {
	for _, s := range o.Sources {
		path := filepath.Join(f.run, "pub", string(s.ID)+".sock")
		if file, err := os.OpenFile(path, os.O_CREATE, 0o600); err == nil {
			file.Close()
		}
		if s.Pidfd > 0 && f.pidfds[s.ID] == 0 {
			f.pidfds[s.ID] = fds[s.Pidfd-1]
			go f.watch(s.ID, fds[s.Pidfd-1])
		}
		if s.Freezer > 0 {
			f.freezers[s.ID] = fds[s.Freezer-1]
		}
	}
	if f.trial != nil && (o.Trial == nil || o.Trial.ID != f.trial.ID) {
		if o.Permanent == f.trial.Source {
			f.disarm()
		} else {
			f.revert(f.trial.ID, orders.CauseOrders)
		}
	}
	f.permanent = o.Permanent
	f.amend()
	switch {
	case o.Trial == nil || f.trial != nil:
	case f.over[o.Trial.ID] != nil:
		f.tell(orders.Message{Revert: f.over[o.Trial.ID]})
	case !slices.ContainsFunc(o.Sources, func(s orders.Source) bool { return s.ID == o.Trial.Source }):
	default:
		f.arm(*o.Trial)
	}
}

func (f *fake) arm(t orders.Trial) {
	f.trial, f.phase = &t, "armed"
	f.timer = f.after(t.ID, time.Duration(t.Deadline)-publish.Monotonic(), orders.CauseDeadline)
	time.AfterFunc(fakeSwitchDelay, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.trial != nil && f.trial.ID == t.ID && f.phase == "armed" {
			f.phase = "switched"
			now := int64(publish.Monotonic())
			f.tell(orders.Message{Switch: &orders.Switched{
				Trial: t.ID, Source: t.Source, At: now, Done: now, Streams: []orders.StreamSwitch{{Name: "main", Viewers: 1, ReplayedFrames: 2}},
			}})
		}
	})
}

func (f *fake) after(id orders.TrialID, d time.Duration, cause string) *time.Timer {
	return time.AfterFunc(d, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.revert(id, cause)
	})
}

func (f *fake) disarm() {
	if f.trial != nil {
		f.timer.Stop()
	}
	f.trial, f.phase = nil, "steady"
}

func (f *fake) revert(id orders.TrialID, cause string) {
	if f.trial == nil || f.trial.ID != id {
		return
	}
	now := int64(publish.Monotonic())
	r := &orders.Reverted{
		Trial: id, Source: f.permanent, Cause: cause, Detected: now, First: now + 1e6, Done: now + 2e6,
		Switched: f.phase != "armed", Streams: []orders.StreamSwitch{{Name: "main", Viewers: 1}},
	}
	if f.pidfds[f.permanent] == 0 {
		r.Source, r.First, f.waiting = "", 0, r
	} else if freezer := f.freezers[f.permanent]; freezer > 0 {
		unix.Pwrite(freezer, []byte("0"), 0)
	}
	f.over[id] = r
	f.disarm()
	f.tell(orders.Message{Revert: r})
}

// amend tells of a revert once more when there is somebody to go back to.
func (f *fake) amend() {
	if f.waiting == nil || f.pidfds[f.permanent] == 0 {
		return
	}
	r := *f.waiting
	f.waiting = nil
	r.Source, r.First = f.permanent, int64(publish.Monotonic())
	r.Streams = []orders.StreamSwitch{{Name: "main", Viewers: 1, GapMS: float64(r.First-r.Detected) / 1e6}}
	f.over[r.Trial] = &r
	f.tell(orders.Message{Revert: &r})
}

// watch reverts when the trial's process ends.
func (f *fake) watch(source orders.SourceID, pidfd int) {
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, -1)
		if err == nil && n == 1 {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pidfds, source)
	if f.trial != nil && f.trial.Source == source {
		f.revert(f.trial.ID, orders.CauseExit)
	}
}
