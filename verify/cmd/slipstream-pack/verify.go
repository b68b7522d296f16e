package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

func verifyCommand() *cobra.Command {
	var trustFile, identities string
	var flags deviceFlags
	cmd := &cobra.Command{
		Use:   "verify --trust FILE PACKAGE",
		Short: "Check a package's signatures, manifest and every byte of its content",
		Long: `Check a package as a device would, and all of its content. If a device is
described, also whether that device would take it. With --identity the images of
an encrypted package are decrypted and compared too; nothing is unpacked.
A PACKAGE of - is read once, from standard input, and without --identity.

"slipstream-pack help check" shows how to check one without this program.` + deviceHelp + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			trust, err := verify.LoadTrust(trustFile)
			if err != nil {
				return err
			}
			dev, err := flags.read()
			if err != nil {
				return err
			}
			p, err := verifyFile(cmd, args[0], trust, dev, identities)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "good: %s %s, digest %s, signed by %s\n",
				p.Manifest.Product, p.Manifest.Version, p.Digest, strings.Join(p.Signers, ", "))
			return nil
		},
	}
	cmd.Flags().StringVar(&trustFile, "trust", "", "vendor's root, or file of trusted public keys")
	cmd.Flags().StringVar(&identities, "identity", "", "file of age identities to decrypt the images with")
	flags.define(cmd)
	require(cmd, "trust")
	return cmd
}

// verifyFile checks all of a package, which is not open any more when it returns.
func verifyFile(cmd *cobra.Command, path string, trust *verify.Trust, dev *verify.Device, identities string) (*verify.Package, error) {
	ctx := cmd.Context()
	if path == "-" {
		if identities != "" {
			return nil, errors.New("what comes by standard input is not kept to be decrypted: name a file, or leave --identity out")
		}
		p, err := verify.CheckStream(ctx, cmd.InOrStdin(), trust, dev)
		return p, asRefused(err)
	}
	p, done, err := openPackage(path, func(f *os.File, size int64) (*verify.Package, error) {
		if dev == nil {
			return verify.Inspect(f, size, trust)
		}
		return verify.Open(f, size, trust, *dev)
	})
	if err != nil {
		return nil, err
	}
	defer done()
	if err := checkAll(ctx, p); err != nil {
		return nil, err
	}
	return p, checkDecrypted(ctx, p, identities)
}

func checkAll(ctx context.Context, p *verify.Package) error {
	return asRefused(p.CheckAll(ctx))
}

func checkDecrypted(ctx context.Context, p *verify.Package, path string) error {
	if path == "" {
		return nil
	}
	identities, err := pack.LoadIdentities(path)
	if err != nil {
		return err
	}
	for _, image := range p.Images() {
		if err := checkImage(ctx, image, identities); err != nil {
			return err
		}
	}
	return nil
}

func checkImage(ctx context.Context, image *verify.Payload, identities []age.Identity) error {
	if image.Image.Encryption == nil {
		return nil
	}
	return asRefused(pack.CheckDecrypted(ctx, image, identities))
}

// openPackage opens the file for as long as the caller reads the package.
func openPackage(path string, open func(*os.File, int64) (*verify.Package, error)) (*verify.Package, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	p, err := open(f, info.Size())
	if err != nil {
		f.Close()
		return nil, nil, asRefused(err)
	}
	return p, func() { f.Close() }, nil
}
