package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen NAME",
		Short: "Make a signing key: NAME.key (keep it secret) and NAME.pub (for devices)",
		Long: `Make an ECDSA P-256 signing key: NAME.key, which must be kept secret, and
NAME.pub, which devices trust. Several .pub files joined make a file of several
trusted keys. Existing files are never overwritten.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := pack.Keygen(args[0]+".key", args[0]+".pub")
			if err != nil {
				return err
			}
			id, err := verify.KeyID(&key.PublicKey)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s.key and %s.pub, key id %s\n", args[0], args[0], id)
			return nil
		},
	}
}
