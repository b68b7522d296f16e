package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/verify"
)

// trustReport is whom a device trusts.
type trustReport struct {
	Keys         []string    `json:"keys"` // ids; of them Threshold must sign a release
	Threshold    int         `json:"threshold"`
	Vendor       *rootReport `json:"vendor,omitempty"` // absent with a file of keys
	Fleet        *rootReport `json:"fleet,omitempty"`  // absent outside of a fleet
	Order        int64       `json:"order,omitempty"`  // number of the newest that was obeyed
	Time         time.Time   `json:"time,omitzero"`    // secure time: it is this or later
	FloorCounter int64       `json:"floorCounter"`
	FloorEpoch   int64       `json:"floorEpoch"`
}

type rootReport struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Digest  string    `json:"digest"`
}

func (c *cli) trustCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "trust [FILE …]",
		Short: "Show whom this device trusts, or take newer roots and the time from files",
		Long: `Without a FILE: show whose releases and whose orders this device accepts, what it
takes the time to be, and the lowest release that it takes.

With FILEs, from a stick for example: follow a vendor's or a fleet's newer roots, all
that lie between, and take a fleet's word of the time (slipstream-pack time). They
are believed by their signatures. A fleet's order is none of them: it lies in its
package.

Exit status: 0 done, 1 error, 2 nothing new, 3 refused and nothing changed.`,
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) == 0 {
				return c.showTrust()
			}
			paths, err := absolute(given)
			if err != nil {
				return err
			}
			return c.keep(cmd.Context(), func(ctx context.Context, k control.Keeper) control.Result {
				return k.TakeTrust(ctx, control.TrustRequest{Paths: paths})
			})
		},
	}
}

func (c *cli) enrollCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "enroll FILE",
		Short: "Make this device belong to a fleet, by the fleet's root",
		Long: `Make this device belong to the fleet whose first root FILE is. From then on a package
needs the fleet's order beside the vendor's signature. Whoever enrols it vouches for
the file: compare its digest with the one that the fleet's operator names.

Exit status: 0 done, 1 error, 3 refused.`,
		Args: args(cobra.ExactArgs(1), "one file, a fleet's root"),
		RunE: func(cmd *cobra.Command, given []string) error {
			paths, err := absolute(given)
			if err != nil {
				return err
			}
			return c.keep(cmd.Context(), func(ctx context.Context, k control.Keeper) control.Result {
				return k.Enroll(ctx, control.EnrollRequest{Path: paths[0]})
			})
		},
	}
}

func (c *cli) leaveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "leave DEVICE",
		Short: "Make this device belong to no fleet any more",
		Long: `Make this device belong to no fleet, also if its fleet is dead or its keys are lost.
It takes somebody at the device, is logged, and can be asked for by no link, no stick
and no configuration. DEVICE is this device's own name: a line that was meant for
another one does nothing. The vendor's signature and the floors stay.

Exit status: 0 done, 1 error, 2 it belongs to none, 3 refused.`,
		Args: args(cobra.ExactArgs(1), "the name of this device"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.keep(cmd.Context(), func(ctx context.Context, k control.Keeper) control.Result {
				return k.Leave(ctx, control.LeaveRequest{Device: given[0]})
			})
		},
	}
}

// absolute paths mean the same files to the agent.
func absolute(given []string) (paths []string, err error) {
	for _, path := range given {
		if path, err = filepath.Abs(path); err != nil {
			return nil, fmt.Errorf("find %s: %w", path, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func (c *cli) keep(ctx context.Context, ask func(context.Context, control.Keeper) control.Result) error {
	agent, _, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer agent.Close()
	return c.finish(ask(ctx, agent))
}

// showTrust reads the files, as inspect does: whom a device trusts can be asked while
// no agent runs.
func (c *cli) showTrust() error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	trust, device, err := agent.Trust(cfg)
	if err == nil {
		err = installedFloors(cfg, &device)
	}
	if err != nil {
		return err
	}
	r := reportTrust(trust, device)
	if c.json {
		return c.printJSON(r)
	}
	for _, line := range r.lines() {
		c.say(c.out, line)
	}
	return nil
}

func reportTrust(trust *verify.Trust, device verify.Device) trustReport {
	r := trustReport{
		Keys: trust.KeyIDs(), Threshold: trust.Threshold(), Vendor: reportRoot(trust.Root()),
		Time: device.Time, FloorCounter: device.FloorCounter, FloorEpoch: device.FloorEpoch,
	}
	if f := device.Fleet; f != nil {
		r.Fleet, r.Order = reportRoot(f.Root), f.Sequence
	}
	return r
}

func reportRoot(root *verify.Root) *rootReport {
	if root == nil {
		return nil
	}
	return &rootReport{root.Version(), root.Expires(), root.Digest()}
}

func (r trustReport) lines() []string {
	from := "a file of keys, which never expires and follows nothing"
	if r.Vendor != nil {
		from = "the vendor's " + r.Vendor.String()
	}
	lines := []string{fmt.Sprintf("releases  %d of %d keys must sign, by %s", r.Threshold, len(r.Keys), from)}
	switch {
	case r.Fleet == nil:
		lines = append(lines, "fleet     none")
	case r.Order == 0:
		lines = append(lines, "fleet     "+r.Fleet.String()+", no order yet")
	default:
		lines = append(lines, fmt.Sprintf("fleet     %s, newest order %d", r.Fleet, r.Order))
	}
	now := "not known: nothing expires"
	if !r.Time.IsZero() {
		now = r.Time.UTC().Format(time.RFC3339) + " or later"
	}
	return append(lines, "time      "+now,
		fmt.Sprintf("floor     release %d, security epoch %d", r.FloorCounter, r.FloorEpoch))
}

func (r rootReport) String() string {
	return fmt.Sprintf("root %d (%.16s), valid until %s", r.Version, r.Digest, r.Expires.Format(time.DateOnly))
}
