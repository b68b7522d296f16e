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
		Long: `Build and sign a package from a directory and a manifest template, and write it
as PRODUCT-VERSION.slip. The same directory, template and time give the same
package digest. The time is --issued-at, or the template's issuedAt, or
SOURCE_DATE_EPOCH, or now.

A small template:

  {
    "product": "gatecam", "hardware": ["cam-a1"],
    "version": "2.0.0", "releaseCounter": 2,
    "app": {
      "exec": ["bin/camera"],
      "streams": [{"name": "main", "width": 1280, "height": 720}]
    }
  }

releaseCounter counts releases (not dates): devices refuse a lower one, and steps
of more than 10000. Left out of app: overlap "full", greenlight "app", deadlineMs
60000, startTimeoutMs 10000, soakMs 2000, stopTimeoutMs 3000, restartMax 3 in
restartWindowMs 60000; of a stream: codec "h264".` + exitHelp,
		Args: cobra.NoArgs,
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
	flags.StringVar(&out, "out", ".", "directory for the package")
	flags.StringVar(&issuedAt, "issued-at", "", "time of issue, such as 2026-11-23T10:00:00Z")
	for _, name := range []string{"dir", "manifest", "key"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a misspelt name above
		}
	}
	return cmd
}
