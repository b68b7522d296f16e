package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipstream/verify/pack"
)

func buildCommand() *cobra.Command {
	var dir, template, keyFile, out, issuedAt string
	cmd := &cobra.Command{
		Use:   "build --dir DIR --manifest FILE --key FILE",
		Short: "Build and sign a package from a directory",
		Long:  buildHelp + exitHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := pack.LoadTemplate(template)
			if err != nil {
				return err
			}
			if issuedAt != "" {
				if m.IssuedAt, err = time.Parse(time.RFC3339, issuedAt); err != nil {
					return fmt.Errorf("--issued-at must look like 2026-11-23T10:00:00Z: %w", err)
				}
			}
			key, err := pack.LoadKey(keyFile)
			if err != nil {
				return err
			}
			if warning := pack.Warning(m); warning != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "slipstream-pack: warning:", warning)
			}
			path, err := pack.BuildFile(cmd.Context(), out, pack.Options{Dir: dir, Manifest: m, Key: key})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), path)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "", "directory that becomes the slot's content")
	flags.StringVar(&template, "manifest", "", "manifest template, a JSON file")
	flags.StringVar(&keyFile, "key", "", "private key file, see keygen")
	flags.StringVar(&out, "out", ".", "directory for the package, made if it is missing")
	flags.StringVar(&issuedAt, "issued-at", "", "time of issue, such as 2026-11-23T10:00:00Z")
	for _, name := range []string{"dir", "manifest", "key"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a misspelt name above
		}
	}
	return cmd
}
