package main

import (
	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	c := &cli{}
	check := &cobra.Command{
		Use: "check [FILE]", Short: "Say whether a configuration is right",
		Long: `Read a configuration as the panel would, with the environment's SLIPSTREAM_PANEL_… over it,
and name every mistake, with its file and line; without a FILE those and the defaults alone.
Nothing is changed, and no panel is asked: one that runs reads its configuration when it
starts.

Exit status: 0 right, 1 wrong or not there.`,
		Example: "  slipstream-panel config check /etc/slipstream-panel/panel.toml",
		Args:    args(cobra.MaximumNArgs(1), "at most one FILE"),
		RunE: func(_ *cobra.Command, given []string) error {
			w, name := where{}, "the environment"
			if len(given) > 0 {
				w.file, name = given[0], given[0]
			}
			cfg, err := w.load()
			if err != nil {
				return err
			}
			return c.done("%s is right: people at %s (tls.mode %s), devices at %s, data in %s", name, cfg.Listen, cfg.TLS.Mode, cfg.Devices, cfg.Data)
		},
	}
	cmd := group("config", "Look at a panel's configuration", "", check)
	c.under(cmd)
	return cmd
}
