package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

func (c *cli) enrolCommand() *cobra.Command {
	var req view.EnrolmentRequest
	var list bool
	var remove, out string
	life := life(24 * time.Hour)
	cmd := &cobra.Command{
		Use: "enrol [DEVICE]", Short: "Make a token with which devices join",
		Long: `Make a token with which a device joins the panel, once, and print it and the line to type on
the device. It cannot be shown again: only its hash is kept. For a DEVICE it also lets in
what shall take that one's place, or was revoked; without one it is for any of another
name than those that have joined.`,
		Example: "  slipstream-panel fleet enrol cam-7 --site north --tag lab\n  slipstream-panel fleet enrol --uses 50 --for 7d --out token",
		Args:    args(cobra.MaximumNArgs(1), "at most one DEVICE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			switch {
			case list:
				return c.enrolments(ctx, panel)
			case remove != "":
				if err := panel.RemoveEnrolment(ctx, remove); err != nil {
					return err
				}
				return c.done("the token %s lets nobody in any more", remove)
			}
			req.Device, req.Until = first(given), life.from(time.Now())
			return c.enrol(ctx, panel, req, out)
		}),
	}
	flags := cmd.Flags()
	flags.IntVar(&req.Uses, "uses", 1, "devices that may join by it, if it names none")
	flags.StringVar(&req.Site, "site", "", "site of who joins by it")
	flags.StringSliceVar(&req.Tags, "tag", nil, "tag of who joins by it; may be repeated")
	flags.Var(&life, "for", "how long it is good, such as 7d")
	flags.StringVar(&out, "out", "", "write the token into this `FILE`, which only you can read, in place of printing it")
	flags.BoolVar(&list, "list", false, "list the tokens that are still good")
	flags.StringVar(&remove, "remove", "", "end the token with this `ID`")
	return cmd
}

func (c *cli) enrol(ctx context.Context, panel *client.Client, req view.EnrolmentRequest, out string) error {
	if out != "" {
		if _, err := os.Lstat(out); !os.IsNotExist(err) {
			return errors.Join(fmt.Errorf("%s is there already: name another file", out), err)
		}
	}
	e, err := panel.AddEnrolment(ctx, req)
	if err != nil {
		return err
	}
	if out != "" {
		if err := writeWhole(out, []byte(e.Text+"\n")); err != nil {
			return errors.Join(fmt.Errorf("write the token: %w", err), panel.RemoveEnrolment(ctx, e.ID))
		}
		e.Text = ""
	}
	if c.json {
		return c.printJSON(e)
	}
	if out != "" {
		return c.done("%s lets %s in until %s", out, whoJoins(e), moment(e.Until))
	}
	fmt.Fprintln(c.out, words.Clean(e.Text))
	if e.Line != "" {
		fmt.Fprintln(c.err, "on the device: "+words.Clean(e.Line))
	}
	return nil
}

func whoJoins(e view.Enrolment) string {
	if e.Device != "" {
		return e.Device
	}
	return words.Count(e.Uses, "device")
}

func (c *cli) enrolments(ctx context.Context, panel *client.Client) error {
	list, err := panel.Enrolments(ctx)
	if err != nil {
		return err
	}
	rows := make([][]string, len(list.Enrolments))
	for i, e := range list.Enrolments {
		rows[i] = []string{e.ID, whoJoins(e), e.Site, strings.Join(e.Tags, ","), moment(e.Until), e.By}
	}
	return c.list(list, "token", []string{"ID", "LETS IN", "SITE", "TAGS", "UNTIL", "BY"}, rows)
}

func (c *cli) auditCommand() *cobra.Command {
	var most int
	var export string
	cmd := &cobra.Command{
		Use: "audit [OBJECT]", Short: "List who did what",
		Long: `List who did what, the newest first; an OBJECT is such as "device cam-7" or "rollout ID".
--export writes the whole chain as it is, to be checked with "slipstream-panel audit verify".`,
		Args: args(cobra.MaximumNArgs(1), "at most one OBJECT"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			if export != "" {
				return c.exportAudit(ctx, panel, export)
			}
			page := view.Audit{Lines: []view.AuditLine{}}
			for line, err := range panel.Audit(ctx, first(given)) {
				if err != nil {
					return err
				}
				if page.Lines = append(page.Lines, line); len(page.Lines) >= most {
					break
				}
			}
			return c.showAudit(page)
		}),
	}
	cmd.Flags().IntVarP(&most, "count", "n", 50, "at most so many")
	cmd.Flags().StringVar(&export, "export", "", "write all lines into this `FILE`, oldest first")
	return cmd
}

func (c *cli) showAudit(page view.Audit) error {
	rows := make([][]string, len(page.Lines))
	for i, l := range page.Lines {
		rows[i] = []string{fmt.Sprint(l.Seq), moment(l.At), l.Actor, l.From, l.Action, l.Object, l.Detail}
	}
	return c.list(page, "line", []string{"LINE", "TIME", "WHO", "FROM", "DID", "TO", "DETAIL"}, rows)
}

// exportAudit writes a file that is there whole or not at all.
func (c *cli) exportAudit(ctx context.Context, panel *client.Client, path string) error {
	err := writeNew(path, func(f *os.File) error { return panel.ExportAudit(ctx, f) })
	if err != nil {
		return fmt.Errorf("export the audit log: %w", err)
	}
	return c.done("the audit log is in %s; to check it: slipstream-panel audit verify %s", path, path)
}
