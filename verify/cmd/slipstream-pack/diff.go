package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func diffCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff [--json] OLD NEW",
		Short: "Show what a device with one package fetches for another, and which files changed",
		Long: `Show how many bytes a device that has OLD must fetch for NEW: the chunks of each
image that the old one does not have. Of images of kind tree it lists the files
that were added (+), removed (-) or changed (~). Signatures are not checked, the
content of both packages is.` + exitHelp,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := diff(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), d)
			}
			return printDiff(cmd.OutOrStdout(), d)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func unverified(f *os.File, size int64) (*verify.Package, error) { return verify.Unverified(f, size) }

func diff(ctx context.Context, before, after string) (d pack.Difference, err error) {
	var packages [2]*verify.Package
	for i, path := range []string{before, after} {
		p, done, err := openPackage(path, unverified)
		if err != nil {
			return d, err
		}
		defer done()
		if err := checkAll(ctx, p); err != nil {
			return d, err
		}
		packages[i] = p
	}
	return pack.Diff(ctx, packages[0], packages[1])
}

func printDiff(w io.Writer, d pack.Difference) error {
	for _, i := range d.Images {
		percent := 100 * float64(i.FetchBytes) / float64(i.Size)
		if _, err := fmt.Fprintf(w, "%s image: fetch %d of %d bytes (%.1f %%), %d of %d chunks, in %d ranges\n",
			i.Class, i.FetchBytes, i.Size, percent, i.FetchCount, i.Chunks, i.Ranges); err != nil {
			return err
		}
		for _, f := range i.Files {
			if _, err := fmt.Fprintf(w, "%s %s (%d bytes)\n", changeSign[f.Change], f.Path, f.Size); err != nil {
				return err
			}
		}
	}
	return nil
}

var changeSign = map[string]string{"added": "+", "removed": "-", "changed": "~"}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func encryptCommand() *cobra.Command {
	var to, keys []string
	var out string
	var unsigned bool
	cmd := &cobra.Command{
		Use:   "encrypt --to RECIPIENT --key KEY --out FILE PACKAGE",
		Short: "Make a package whose images only some can read",
		Long: `Make a package with the same manifest and with images encrypted by age, for all
recipients given. RECIPIENT is an age recipient (age1…) or a file of them. Only
the images are secret; their names, sizes and the app contract are not.

The hashes of the encrypted and of the plain images are both signed, so the new
package has its own digest and its own signatures. Every part of the image is
other than before: nothing of it is taken from what a device has.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var recipients []age.Recipient
			for _, text := range to {
				list, err := pack.ParseRecipient(text)
				if err != nil {
					return err
				}
				recipients = append(recipients, list...)
			}
			signers, err := openSigners(cmd.Context(), keys)
			if err != nil {
				return err
			}
			p, done, err := openPackage(args[0], unverified)
			if err != nil {
				return err
			}
			defer done()
			if !strings.HasSuffix(out, ".slip") {
				return fmt.Errorf("--out %s is no name of a package: it must end with .slip", out)
			}
			err = pack.EncryptFile(cmd.Context(), out, pack.Encrypted{Package: p, Recipients: recipients, Signers: signers, Unsigned: unsigned})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&to, "to", nil, "age recipient, or file of recipients; may be given several times")
	flags.StringArrayVar(&keys, "key", nil, "private key file or URI; may be given several times")
	flags.BoolVar(&unsigned, "unsigned", false, "nobody signs yet: see sign and attach")
	flags.StringVar(&out, "out", "", "file")
	require(cmd, "to", "out")
	cmd.MarkFlagsOneRequired("key", "unsigned")
	cmd.MarkFlagsMutuallyExclusive("key", "unsigned")
	return cmd
}
