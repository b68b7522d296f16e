package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func timeCommand() *cobra.Command {
	var key, at, root, out string
	cmd := &cobra.Command{
		Use:   "time --key KEY --root FILE",
		Short: "Sign a fleet's word what time it is",
		Long: `Sign a fleet's word what time it is, with its freshness key. It moves the secure time
of the fleet's devices forward, by the link or from a stick:

  slipstream-pack time --key time.key --root fleet.1.root.json
  slipstream trust /media/stick/time.sigstore.json      (on the device)

A device believes no time after the expiry of the fleet's root.` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := signTime(cmd.Context(), key, at, root)
			if err != nil {
				return err
			}
			return writeFresh(cmd, out, data)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&key, "key", "", "private key file, or the URI of a key in a KMS or HSM")
	flags.StringVar(&at, "at", "", "the time, such as 2026-11-23T10:00:00Z (default now)")
	flags.StringVar(&root, "root", "", "the fleet's root: a key that it does not name for the time is refused")
	flags.StringVar(&out, "out", "time.sigstore.json", "file")
	require(cmd, "key", "root")
	return cmd
}

func signTime(ctx context.Context, key, text, rootFile string) ([]byte, error) {
	signer, err := pack.OpenSigner(ctx, key)
	if err != nil {
		return nil, err
	}
	root, err := verify.LoadFleet(rootFile)
	if err != nil {
		return nil, err
	}
	if !signer.MaySign(root.Freshness()) {
		return nil, fmt.Errorf("key %s may not say what time it is: %s names it for something else, or not at all", signer.ID(), rootFile)
	}
	at := now()
	if text != "" {
		if at, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, fmt.Errorf("--at must look like 2026-11-23T10:00:00Z: %w", err)
		}
	}
	return pack.SignTime(ctx, signer, at)
}
