package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/agent/supervise"
)

// renewLimit is within which time an agent that is at rest has become another program,
// which it tries first (tryLimit).
const renewLimit = 2 * time.Minute

func (c *cli) renewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reexec",
		Short: "Let the running agent become the installed program",
		Long: `Let the running agent become the program that is installed in its place, without
ending its process or anything it has started; return when that answers. An update that
is under way is waited for. The agent does it by itself within some seconds after
another program was installed.

Exit status: 0 done, 1 error: then the agent before goes on, or its log says more.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.renew(cmd.Context()) },
	}
}

func (c *cli) renew(ctx context.Context) error {
	client, status, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	path, err := c.socket()
	if err != nil {
		return err
	}
	before, err := os.Stat(path)
	if err == nil {
		err = signalListener(path, unix.SIGUSR2)
	}
	if err != nil {
		return fmt.Errorf("ask the agent to become the installed program: %w", err)
	}
	end := time.Now().Add(renewLimit)
	for {
		now, err := os.Stat(path)
		if err == nil && !(os.SameFile(before, now) && before.ModTime().Equal(now.ModTime())) {
			break
		}
		if s, err := client.Status(ctx); err == nil {
			status = s
		}
		if status.Phase != string(agent.PhaseIdle) && status.Phase != string(agent.PhaseStaged) {
			end = time.Now().Add(renewLimit)
		}
		if time.Now().After(end) {
			return errors.New("the agent has not become another program in two minutes; its log says why")
		}
		if !agent.Wait(ctx, reconnectEvery) {
			return ctx.Err()
		}
	}
	status, err = reached(ctx, client)
	if err != nil {
		return fmt.Errorf("the agent is another program and does not answer yet: %w", err)
	}
	return c.finish(control.Result{Exit: control.ExitDone, Message: "the agent is the installed program now: version " + status.Agent})
}

// signalListener signals the process that listens on a socket. The kernel names it, so
// no number in a file has to be believed.
func signalListener(path string, sig unix.Signal) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	return unix.Kill(int(peer.Pid), sig)
}

func (c *cli) stopAllCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stop-all",
		Short: "End what an agent that has ended has left running",
		Long: `End the apps, the forwarder and the gateway that an agent has left running when it
ended. It is refused while an agent runs: end that first.

Exit status: 0 done, 1 error.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), stopAllTimeout)
			defer cancel()
			if err := agent.EndAll(ctx, cfg, agentLog(c.err, false)); err != nil {
				return err
			}
			return c.finish(control.Result{Exit: control.ExitDone, Message: "nothing of this device runs any more"})
		},
	}
}

// makeRoomCommand is started by slipstream.service, not by people.
func makeRoomCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "make-room",
		Short:  "Take controllers back from the cgroup of the agent's service",
		Hidden: true,
		Args:   args(cobra.NoArgs, "no arguments"),
		RunE:   func(*cobra.Command, []string) error { return supervise.MakeRoom() },
	}
}
