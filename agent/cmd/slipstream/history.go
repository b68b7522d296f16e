package main

import (
	"cmp"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

// stamp is a point in time as a person reads it.
const stamp = "2006-01-02 15:04:05"

func (c *cli) historyCommand() *cobra.Command {
	var most int
	var full bool
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the updates of this device",
		Long: `List past updates, the newest first: what was tried, and how it ended.

Exit status: 0, or 1 if the agent cannot be asked.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 1 || most > control.MaxHistory {
				return fmt.Errorf("--max %d must lie between 1 and %d", most, control.MaxHistory)
			}
			agent, _, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			records, err := agent.History(cmd.Context(), most)
			if err != nil {
				return err
			}
			return c.showHistory(records, full)
		},
	}
	cmd.Flags().IntVar(&most, "max", 20, "list at most `N`")
	cmd.Flags().BoolVar(&full, "full", false, "with the proof and the evidence of each")
	return cmd
}

func (c *cli) showHistory(records []control.Record, full bool) error {
	switch {
	case c.json:
		return c.printJSON(records)
	case len(records) == 0:
		_, err := fmt.Fprintln(c.out, "no update yet")
		return err
	case full:
		return c.printProofs(records)
	}
	p := c.printer()
	rows := make([][]string, len(records))
	for i, r := range records {
		rows[i] = []string{
			r.Time.Local().Format(stamp),
			cmp.Or(clean(r.From), "nothing") + " " + p.arrow + " " + to(r),
			clean(r.Outcome), because(r.Reason, r.Detail),
		}
	}
	for _, text := range columns(rows) {
		p.line("%s", text)
	}
	_, err := io.WriteString(c.out, p.b.String())
	return err
}

// printProofs prints records with their time and all that is known of them.
func (c *cli) printProofs(records []control.Record) error {
	p := c.printer()
	for i, r := range records {
		if i > 0 {
			p.gap()
		}
		p.set(p.dim, "%s", r.Time.Local().Format(stamp))
		p.proof(r, len(r.Evidence))
	}
	_, err := io.WriteString(c.out, p.b.String())
	return err
}

// printProof prints how the update that was just waited for has ended.
func (c *cli) printProof(r control.Record) error {
	p := c.printer()
	p.proof(r, maxEvidence)
	_, err := io.WriteString(c.out, p.b.String())
	return err
}
