package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipstream/verify/pack"
)

func buildCommand() *cobra.Command {
	var opts pack.Options
	var template, out, issuedAt string
	var keys, images []string
	cmd := &cobra.Command{
		Use:   "build --dir DIR --manifest FILE --key KEY",
		Short: "Build and sign a package from a directory or images",
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
			if opts.Signers, err = openSigners(cmd.Context(), keys); err != nil {
				return err
			}
			for _, text := range images {
				source, err := pack.ParseSource(text)
				if err != nil {
					return err
				}
				opts.Images = append(opts.Images, source)
			}
			if warning := pack.Warning(m); warning != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "slipstream-pack: warning:", warning)
			}
			opts.Manifest = m
			path, err := pack.BuildFile(cmd.Context(), out, opts)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), path)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.Dir, "dir", "", "directory that becomes the live slot's content")
	flags.StringArrayVar(&images, "image", nil, "`CLASS:KIND:PATH` of an image; may be given several times")
	flags.StringVar(&template, "manifest", "", "manifest template, a JSON file")
	flags.StringArrayVar(&keys, "key", nil, "private key file or URI, see keygen and sign; may be given several times")
	flags.BoolVar(&opts.Unsigned, "unsigned", false, "nobody signs yet: see sign and attach")
	flags.BoolVar(&opts.NoVerity, "no-verity", false, "file systems get no hash tree")
	flags.StringVar(&out, "out", ".", "directory for the package, made if it is missing")
	flags.StringVar(&issuedAt, "issued-at", "", "time of issue, such as 2026-11-23T10:00:00Z")
	require(cmd, "manifest")
	cmd.MarkFlagsOneRequired("dir", "image")
	cmd.MarkFlagsOneRequired("key", "unsigned")
	cmd.MarkFlagsMutuallyExclusive("key", "unsigned")
	return cmd
}

func openSigners(ctx context.Context, refs []string) (signers []*pack.Signer, err error) {
	for _, ref := range refs {
		signer, err := pack.OpenSigner(ctx, ref)
		if err != nil {
			return nil, err
		}
		signers = append(signers, signer)
	}
	return signers, nil
}
