package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
	"slipstream/agent/manual"
)

func (c *cli) manCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [VERB …]",
		Short: "Write the manual pages of all verbs, or print one",
		Long: `Print the manual page of a verb, or of slipstream itself, or write those of all verbs
into a directory; they say what --help says. To read one: slipstream man status | man -l -

Exit status: 0, or 1 if they cannot be written.`,
		RunE: func(cmd *cobra.Command, given []string) error {
			if dir != "" {
				n, err := manual.Write(cmd.Root(), dir)
				if err != nil {
					return err
				}
				return c.finish(control.Result{Message: fmt.Sprintf("%s in %s", count(n, "page"), dir)})
			}
			verb, rest, err := cmd.Root().Find(given)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no verb %q; see: slipstream --help", strings.Join(given, " "))
			}
			_, err = c.out.Write(manual.Page(verb))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write all pages into this `DIRECTORY`")
	return cmd
}
