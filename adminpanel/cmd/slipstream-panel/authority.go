package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"slipstream/adminpanel"
	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/store"
)

// authority works while a panel runs on the same data.
func authority() *cobra.Command {
	var w where
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Rotate the panel's certificate authority",
		Long: "Rotate the panel's certificate authority, in two steps. After rotate there are two: devices\n" +
			"hear of the new one by their links and renew their certificates. When every device has\n" +
			"called, retire drops the old one. A device that did not call in between must be enrolled\n" +
			"again, by a new token. The panel may run meanwhile.",
	}
	for _, step := range []struct {
		use, short string
		do         func(*ca.Authority) error
	}{
		{"rotate", "Make another authority, by which devices' certificates are made from now on", (*ca.Authority).Rotate},
		{"retire", "Drop the oldest authority", (*ca.Authority).Retire},
	} {
		one := &cobra.Command{Use: step.use, Short: step.short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := w.load()
			if err != nil {
				return err
			}
			return withAuthority(cmd.Context(), cfg, step.do)
		}}
		w.flags(one)
		cmd.AddCommand(one)
	}
	return cmd
}

// withAuthority opens a store only if the authority is in it: one in a file is open in the
// panel.
func withAuthority(ctx context.Context, cfg config.Config, do func(*ca.Authority) error) (err error) {
	var s store.Store
	if cfg.Store.Kind == config.StoreEtcd {
		if s, err = adminpanel.OpenStore(ctx, cfg); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
	}
	a, err := adminpanel.OpenAuthority(cfg, s)
	if err != nil {
		return err
	}
	return do(a)
}
