package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/shelf"
	"slipstream/adminpanel/shelf/panel"
)

// revoke works while a panel runs on the same data, which then ends the device's
// link within a second.
func revoke(data *string) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke DEVICE",
		Short: "Shut a device out: its link is ended, and its certificate is worth nothing any more",
		Long: "Shut a device out: its link is ended, and its certificate is worth nothing any more. What\n" +
			"it runs goes on. A token that names it lets it in again.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			enrolled, err := shelf.OpenEnrolled(*data)
			if err != nil {
				return err
			}
			err = enrolled.Revoke(args[0])
			if errors.Is(err, shelf.ErrNotFound) {
				return fmt.Errorf("no device %s is enrolled", args[0])
			}
			return err
		},
	}
}

// authority works while a panel runs on the same data.
func authority(data *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Rotate the panel's certificate authority",
		Long: "Rotate the panel's certificate authority, in two steps. After rotate there are two: devices\n" +
			"hear of the new one by their links and renew their certificates. When every device has\n" +
			"called, retire drops the old one. A device that did not call in between must be enrolled\n" +
			"again, by a new token.",
	}
	for _, step := range []struct {
		use, short string
		do         func(*ca.Authority) error
	}{
		{"rotate", "Make another authority, by which devices' certificates are made from now on", (*ca.Authority).Rotate},
		{"retire", "Drop the oldest authority", (*ca.Authority).Retire},
	} {
		cmd.AddCommand(&cobra.Command{Use: step.use, Short: step.short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			a, err := ca.Open(adminpanel.AuthorityDir(*data))
			if err != nil {
				return err
			}
			return step.do(a)
		}})
	}
	return cmd
}
