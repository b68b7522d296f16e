package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/agent"
	"slipstream/agent/control"
)

// defaultBeat is how often the overseer is told how things stand if it keeps no
// watchdog; else it is a third of the watchdog's time.
const defaultBeat = 10 * time.Second

// overseer is what has started the agent, if it speaks sd_notify(3): systemd does. The
// zero value is one that hears nothing.
type overseer struct {
	conn   *net.UnixConn
	beat   time.Duration
	guards bool // it keeps a watchdog, and ends an agent that does not answer
	log    *slog.Logger
}

// findOverseer takes the environment's word. That nobody listens must not keep the
// device from starting, so it is for the log only.
func findOverseer(log *slog.Logger) overseer {
	o := overseer{beat: defaultBeat, log: log}
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return o
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // "@…" is an abstract one, here as there
	if err != nil {
		log.Warn("NOTIFY_SOCKET not reached; the agent goes on without", "reason", err)
		return o
	}
	o.conn = conn
	if limit := watchdogLimit(); limit > 0 {
		o.guards, o.beat = true, limit/3
	}
	o.tell("WATCHDOG=1") // taking over what there is has the whole of the time
	return o
}

// watchdogLimit is within which time a sign of life is due; 0 is never. A limit that
// was meant for another process is not ours (sd_watchdog_enabled(3)).
func watchdogLimit() time.Duration {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 || usec > int64(time.Hour/time.Microsecond) {
		return 0
	}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

func (o overseer) tell(words string) {
	if o.conn == nil {
		return
	}
	if _, err := o.conn.Write([]byte(words)); err != nil {
		o.log.Warn("not told to NOTIFY_SOCKET", "reason", err)
	}
}

// close lets go. What was told is read all the same.
func (o overseer) close() {
	if o.conn != nil {
		o.conn.Close()
	}
}

// oversee says READY=1 once the agent answers at its socket, and from then on how it
// stands. The watchdog is fed by nothing but the agent's own loop.
func (o overseer) oversee(ctx context.Context, a *agent.Agent, socket string) {
	client := control.Dial(socket)
	defer client.Close()
	status, err := reached(ctx, client)
	for err != nil {
		if !agent.Wait(ctx, reconnectEvery) {
			return
		}
		status, err = reached(ctx, client)
	}
	a.Answered()
	words := standing(status)
	o.tell("READY=1\nSTATUS=" + words)
	for agent.Wait(ctx, o.beat) {
		o.feed(ctx, a)
		status, err := a.Status(ctx)
		if now := standing(status); err == nil && now != words {
			words = now
			o.tell("STATUS=" + words)
		}
	}
}

// feed has the loop's own word within a beat, or none.
func (o overseer) feed(ctx context.Context, a *agent.Agent) {
	if !o.guards {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, o.beat)
	defer cancel()
	switch err := a.Alive(ctx); {
	case err == nil:
		o.tell("WATCHDOG=1")
	case errors.Is(err, context.DeadlineExceeded):
		o.log.Error("the agent's loop does not answer; the watchdog is not fed", "within", o.beat)
	}
}

// reloading announces that the same process is about to be another program
// (sd_notify(3), RELOADING=1).
func (o overseer) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return
	}
	o.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=becoming the installed program\nWATCHDOG=1", now.Nano()/1000))
}

// standing is the device in one line.
func standing(s control.Status) string {
	words := "nothing is installed"
	if s.Permanent != "" {
		words = "version " + s.Permanent + " is permanent"
	}
	if s.Phase != "idle" {
		words += ", " + s.Phase
	}
	if n := len(s.Problems); n > 0 {
		words += ", " + count(n, "problem")
	}
	return clean(words)
}
