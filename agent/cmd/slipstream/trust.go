package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/agent"
	"slipstream/agent/control"
	"slipstream/agent/wire"
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
	var panel, token, tokenFile string
	cmd := &cobra.Command{
		Use:   "enroll {--panel URL --token-file FILE | FILE}",
		Short: "Make this device belong to a panel and its fleet, by a token; or to a fleet, by its root",
		Long: `With --panel: make this device belong to that panel, by a token that was made there
(slipstream-panel token) and is used up by this. The device makes a key that never
leaves it, the panel certifies it, and from then on the device calls there by itself.
If the panel gives a fleet's orders, the device belongs to that fleet too: compare the
digest of its root with the one that the fleet's operator names.

With a FILE: make this device belong to the fleet whose first root FILE is, without a
panel. Whoever enrols it vouches for the file.

In a fleet a package needs the fleet's order beside the vendor's signature.

Exit status: 0 done, 1 error, 3 refused.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, given []string) error {
			request, err := enrollment(cmd.InOrStdin(), panel, token, tokenFile, given)
			if err != nil {
				return err
			}
			return c.keep(cmd.Context(), func(ctx context.Context, k control.Keeper) control.Result {
				return k.Enroll(ctx, request)
			})
		},
	}
	cmd.Flags().StringVar(&panel, "panel", "", "address of the panel, https://HOST:PORT")
	cmd.Flags().StringVar(&token, "token", "", "the token; others on this machine may see it: better --token-file")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file that holds the token; - for the standard input")
	return cmd
}

// enrollment is what the arguments ask for.
func enrollment(in io.Reader, panel, token, tokenFile string, given []string) (control.EnrollRequest, error) {
	switch {
	case panel == "" && (token != "" || tokenFile != ""):
		return control.EnrollRequest{}, errors.New("name the panel that has made the token: --panel https://HOST:PORT")
	case panel != "" && (len(given) > 0 || (token == "") == (tokenFile == "")):
		return control.EnrollRequest{}, errors.New("with --panel give a token, by --token-file or by --token, and no FILE")
	case panel == "" && len(given) != 1:
		return control.EnrollRequest{}, errors.New("give --panel and --token-file, or one file, a fleet's root")
	case panel == "":
		paths, err := absolute(given)
		if err != nil {
			return control.EnrollRequest{}, err
		}
		return control.EnrollRequest{Path: paths[0]}, nil
	}
	if tokenFile != "" {
		text, err := readToken(in, tokenFile)
		if err != nil {
			return control.EnrollRequest{}, fmt.Errorf("read the token: %w", err)
		}
		token = text
	}
	return control.EnrollRequest{Panel: panel, Token: strings.TrimSpace(token)}, nil
}

func readToken(in io.Reader, path string) (string, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, wire.MaxToken+1))
	return string(text), err
}

func (c *cli) leaveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "leave DEVICE",
		Short: "Make this device belong to no fleet and no panel any more",
		Long: `Make this device belong to no fleet, also if its fleet is dead or its keys are lost, and
to no panel: its key and certificate are deleted.
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
