package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"slipstream/verify"
)

func verifyCommand() *cobra.Command {
	var trustFile string
	var dev verify.Device
	cmd := &cobra.Command{
		Use:   "verify --trust FILE PACKAGE",
		Short: "Check a package's signature, manifest and every byte of its content",
		Long: `Check a package as a device would, and all of its content. With --product,
--hardware and --floor also whether that device would take it.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			trust, err := verify.LoadTrust(trustFile)
			if err != nil {
				return err
			}
			p, done, err := openPackage(args[0], func(f *os.File, size int64) (*verify.Package, error) {
				if dev == (verify.Device{}) {
					return verify.Inspect(f, size, trust)
				}
				return verify.Open(f, size, trust, dev)
			})
			if err != nil {
				return err
			}
			defer done()
			if err := checkAll(cmd.Context(), p); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "good: %s %s, digest %s, signed by %s\n",
				p.Manifest.Product, p.Manifest.Version, p.Digest, p.Signer)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&trustFile, "trust", "", "file of trusted public keys")
	flags.StringVar(&dev.Product, "product", "", "product of the device")
	flags.StringVar(&dev.Hardware, "hardware", "", "hardware of the device")
	flags.Int64Var(&dev.FloorCounter, "floor", 0, "lowest release counter that the device accepts")
	cmd.MarkFlagsRequiredTogether("product", "hardware")
	if err := cmd.MarkFlagRequired("trust"); err != nil {
		panic(err) // a misspelt name above
	}
	return cmd
}

func checkAll(ctx context.Context, p *verify.Package) error {
	return asRefused(p.CheckAll(ctx))
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
