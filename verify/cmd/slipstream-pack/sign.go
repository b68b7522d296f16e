package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/verify/pack"
)

func signCommand() *cobra.Command {
	var keys []string
	var out string
	cmd := &cobra.Command{
		Use:   "sign --key KEY PACKAGE",
		Short: "Add a signature to a package, in place",
		Long: `Add a key's signature to those of a package. The statement that is signed stays
the same, byte for byte, and with it the package's digest. Where several keys must
sign, run this on each machine that has one of them.

KEY is a private key file, or the URI of a key in a KMS or HSM:
  awskms://… azurekms://… gcpkms://… hashivault://… openbao://…
                as cosign writes them, and with the environment that it takes, if
                this program was built for them: -tags kms_aws, kms_azure, kms_gcp,
                kms_hashivault (which is also for openbao), or kms for all
  NAME://…      any other is asked of the program sigstore-kms-NAME on the path

As it is built here, ` + pack.KMSHelp() + `.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changePackage(cmd, args[0], out, func(f *pack.File) error {
				signers, err := openSigners(cmd.Context(), keys)
				if err != nil {
					return err
				}
				for _, signer := range signers {
					if err := f.Sign(cmd.Context(), signer); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "private key file or URI; may be given several times")
	cmd.Flags().StringVar(&out, "out", "", "write to this file and leave PACKAGE as it is")
	require(cmd, "key")
	return cmd
}

func attachCommand() *cobra.Command {
	var what attachments
	var out string
	cmd := &cobra.Command{
		Use:   "attach [--bundle FILE | --signature FILE --public KEY] [--root FILE] [--order FILE] PACKAGE",
		Short: "Put signatures made elsewhere, roots and a fleet's order into a package",
		Long: `Put into a package, in place:
  --bundle     a sigstore bundle that another tool made over the package's statement
               (slipstream-pack statement), for example cosign attest-blob
  --signature  a signature that openssl or an HSM made over the package's
               pre-authentication encoding (slipstream-pack pae), in DER or base64
  --root       a root that follows those of devices in the field: a vendor's or a
               fleet's, with all its signatures
  --order      a fleet's order for this package` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if what.empty() {
				return fmt.Errorf("there is nothing to attach: give --bundle, --signature, --root or --order")
			}
			return changePackage(cmd, args[0], out, func(f *pack.File) error { return what.put(cmd.Context(), f) })
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&what.bundles, "bundle", nil, "sigstore bundle v0.3")
	flags.StringVar(&what.signature, "signature", "", "signature over the pre-authentication encoding")
	flags.StringVar(&what.public, "public", "", "public key of the signature or bundle, which is then checked")
	flags.StringArrayVar(&what.roots, "root", nil, "vendor's or fleet's root; may be given several times")
	flags.StringArrayVar(&what.orders, "order", nil, "fleet's order; several times for several signatures")
	flags.StringVar(&out, "out", "", "write to this file and leave PACKAGE as it is")
	return cmd
}

// attachments are files to put into a package.
type attachments struct {
	bundles, roots, orders []string
	signature, public      string
}

func (a attachments) empty() bool {
	return len(a.bundles)+len(a.roots)+len(a.orders) == 0 && a.signature == ""
}

func (a attachments) put(ctx context.Context, f *pack.File) error {
	if err := a.putSignature(ctx, f); err != nil {
		return err
	}
	for _, list := range []struct {
		paths []string
		put   func([]byte) error
	}{{a.roots, f.AttachRoot}, {a.orders, f.AttachOrder}} {
		for _, path := range list.paths {
			data, err := pack.ReadFile(path)
			if err != nil {
				return err
			}
			if err := list.put(data); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

func (a attachments) putSignature(ctx context.Context, f *pack.File) error {
	if a.signature != "" && a.public == "" {
		return fmt.Errorf("--signature needs --public: a signature alone does not say which key made it")
	}
	if a.public == "" {
		return a.putBundles(f, nil)
	}
	public, err := pack.OpenPublicKey(ctx, a.public)
	if err != nil {
		return err
	}
	if a.signature != "" {
		sig, err := pack.ReadFile(a.signature)
		if err != nil {
			return err
		}
		if err := f.AttachSignature(public, sig); err != nil {
			return fmt.Errorf("%s: %w", a.signature, err)
		}
	}
	return a.putBundles(f, public)
}

// changePackage changes a package's head, and says who has signed it now.
func changePackage(cmd *cobra.Command, path, out string, change func(*pack.File) error) error {
	f, err := pack.OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := change(f); err != nil {
		return err
	}
	if out == "" {
		out = path
	}
	if err := f.Save(out); err != nil {
		return err
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), describe(out, f))
	return err
}

// describe sums a package's head up.
func describe(path string, f *pack.File) string {
	lines := []string{fmt.Sprintf("%s: digest %s", path, f.Digest)}
	if f.Unsigned() {
		lines = append(lines, "not signed yet")
	}
	for _, hint := range f.Hints() {
		lines = append(lines, "signed by "+cmp.Or(hint, "a key that is not named"))
	}
	if n := len(f.Head.VendorRoots) + len(f.Head.FleetRoots); n > 0 {
		lines = append(lines, fmt.Sprintf("with %d roots", n))
	}
	if n := len(f.Head.Orders); n > 0 {
		lines = append(lines, fmt.Sprintf("with a fleet's order (signed %d times)", n))
	}
	return strings.Join(lines, "\n") + "\n"
}

func statementCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "statement PACKAGE",
		Short: "Print the statement that is signed, byte for byte",
		Long: `Print a package's in-toto statement: the bytes that "cosign attest-blob
--statement" takes, and whose SHA-256 is the package's digest.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printBytes(cmd, args[0], func(f *pack.File) []byte { return f.Payload })
		},
	}
}

func paeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pae PACKAGE",
		Short: "Print the bytes that a signature is over, for openssl or an HSM",
		Long: `Print the pre-authentication encoding (DSSE) of a package's statement: the bytes
that are signed, with ECDSA P-256 and SHA-256. For example:

  slipstream-pack pae x.slip | openssl dgst -sha256 -sign release.key -out x.sig
  slipstream-pack attach --signature x.sig --public release.pub x.slip` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return printBytes(cmd, args[0], func(f *pack.File) []byte { return pack.PAE(f.Payload) })
		},
	}
}

func printBytes(cmd *cobra.Command, path string, of func(*pack.File) []byte) error {
	f, err := pack.OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = cmd.OutOrStdout().Write(of(f))
	return err
}

func (a attachments) putBundles(f *pack.File, public *ecdsa.PublicKey) error {
	for _, path := range a.bundles {
		data, err := pack.ReadFile(path)
		if err != nil {
			return err
		}
		if err := f.AttachBundle(data, public); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
