package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

const orderSpan = "30d"

func orderCommand() *cobra.Command {
	var o orderFlags
	cmd := &cobra.Command{
		Use:   "order --key KEY --package FILE --sequence N (--device ID | --hardware NAME | --all)",
		Short: "Sign a fleet's order: which devices may run which package",
		Long: `Sign a fleet's order for one package. A device that belongs to a fleet takes a
package only with such an order, by the fleet's link or inside the package:

  slipstream-pack order --key fleet.key --package x.slip --sequence 12 --device cam-7
  slipstream-pack attach --order order.sigstore.json x.slip

The sequence counts up over all orders of the fleet: a device never goes back to
an order with a lower number. Where several keys must sign an order, the others
sign what the first one wrote (--like).` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := o.sign(cmd.Context())
			if err != nil {
				return err
			}
			return writeFresh(cmd, o.out, data)
		},
	}
	o.define(cmd)
	return cmd
}

// writeFresh writes a document where none is yet, and says where.
func writeFresh(cmd *cobra.Command, path string, data []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already; choose another --out", path)
	}
	if err := pack.ReplaceFile(path, data); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), path)
	return err
}

type orderFlags struct {
	order                  verify.Order
	key, file, like, root  string
	issuedAt, expires, out string
}

func (o *orderFlags) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.key, "key", "", "private key file, or the URI of a key in a KMS or HSM")
	flags.StringVar(&o.file, "package", "", "the package that the order is for")
	flags.StringVar(&o.order.Package, "digest", "", "its digest, if it is not at hand")
	flags.StringArrayVar(&o.order.Devices, "device", nil, "a device's name; may be given several times")
	flags.StringArrayVar(&o.order.Hardware, "hardware", nil, "every device of this hardware; likewise")
	flags.BoolVar(&o.order.All, "all", false, "every device of the fleet")
	flags.Int64Var(&o.order.Sequence, "sequence", 0, "the order's number, higher than that of any before")
	flags.StringVar(&o.issuedAt, "issued-at", "", "time of issue, such as 2026-11-23T10:00:00Z (default now)")
	flags.StringVar(&o.expires, "expires", "", "date or span (default "+orderSpan+")")
	flags.StringVar(&o.like, "like", "", "an order's file, to sign what it says with another key")
	flags.StringVar(&o.root, "root", "", "the fleet's root: refuse a key that it does not name for orders")
	flags.StringVar(&o.out, "out", "order.sigstore.json", "file")
	require(cmd, "key")
	cmd.MarkFlagsMutuallyExclusive("package", "digest", "like")
	cmd.MarkFlagsOneRequired("package", "digest", "like")
	for _, name := range []string{"device", "hardware", "all", "sequence", "expires", "issued-at"} {
		cmd.MarkFlagsMutuallyExclusive("like", name)
	}
}

func (o *orderFlags) sign(ctx context.Context) ([]byte, error) {
	signer, err := pack.OpenSigner(ctx, o.key)
	if err != nil {
		return nil, err
	}
	if err := o.checkKey(signer); err != nil {
		return nil, err
	}
	if o.like != "" {
		data, err := pack.ReadFile(o.like)
		if err != nil {
			return nil, err
		}
		return pack.CosignOrder(ctx, signer, data)
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	return pack.SignOrder(ctx, signer, o.order)
}

func (o *orderFlags) checkKey(signer *pack.Signer) error {
	if o.root == "" {
		return nil
	}
	root, err := verify.LoadFleet(o.root)
	if err != nil {
		return err
	}
	if !signer.MaySign(root.Trust()) {
		return fmt.Errorf("key %s may not sign orders: %s names it for something else, or not at all", signer.ID(), o.root)
	}
	return nil
}

// complete reads what is given as text or as a file.
func (o *orderFlags) complete() (err error) {
	if o.order.Sequence == 0 {
		return errors.New("--sequence is missing: it must be higher than that of any order of the fleet before")
	}
	o.order.IssuedAt = now()
	if o.issuedAt != "" {
		if o.order.IssuedAt, err = time.Parse(time.RFC3339, o.issuedAt); err != nil {
			return fmt.Errorf("--issued-at must look like 2026-11-23T10:00:00Z: %w", err)
		}
	}
	if o.order.Expires, err = endOf(o.expires, orderSpan); err != nil {
		return err
	}
	if o.file == "" {
		return nil
	}
	f, err := pack.OpenFile(o.file)
	if err != nil {
		return err
	}
	o.order.Package = f.Digest
	return f.Close()
}
