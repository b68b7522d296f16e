package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/agent/manual"
	"slipstream/agent/words"
)

func manCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "man [VERB …]", Short: "Write the manual pages of all verbs, or print one",
		Long: `Print the manual page of a verb, or of slipstream-panel itself, or write those of all verbs
into a directory; they say what --help says. To read one:
slipstream-panel man fleet upgrade | man -l -`,
		RunE: func(cmd *cobra.Command, given []string) error {
			if dir != "" {
				n, err := manual.Write(cmd.Root(), dir)
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s in %s\n", words.Count(n, "page"), dir)
				}
				return err
			}
			verb, rest, err := cmd.Root().Find(given)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no verb %q; see: slipstream-panel --help", strings.Join(given, " "))
			}
			_, err = cmd.OutOrStdout().Write(manual.Page(verb))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write all pages into this `DIRECTORY`")
	return cmd
}
