package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// How long roots last if nothing is said.
const (
	vendorSpan = "10y"
	fleetSpan  = "3y"
)

func rootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "root",
		Short: "Make, change, sign and show a vendor's or a fleet's root",
		Long: `A root is the file that says which keys may sign what: a vendor's names the keys
of releases, a fleet's those of orders and of the time. Devices get the first one
where they are made, or when they are enrolled, and follow from it to the next
ones, each signed by enough root keys of the one before and of its own.

It is signed offline, on as many machines as there are root keys: carry the file
from one to the next and run "root sign" on each; it says what is still missing.
See also: slipstream-pack help keys.`,
	}
	cmd.AddCommand(rootInitCommand(), rootKeyCommand(true), rootKeyCommand(false), rootRotateCommand(), rootSignCommand(), rootShowCommand())
	return cmd
}

func rootInitCommand() *cobra.Command {
	keys := map[string]*[]string{}
	var terms termFlags
	var expires, out string
	var thresholds []string
	cmd := &cobra.Command{
		Use:   "init vendor|fleet",
		Short: "Begin a first root; it is not signed yet",
		Long: `Begin the first root of a vendor or of a fleet. Its keys are public key files
(keygen makes them), or URIs of keys in a KMS or HSM. Of the root keys a majority
must sign, of the others one, unless --threshold says otherwise.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := args[0]
			if kind != verify.KindVendor && kind != verify.KindFleet {
				return fmt.Errorf("%q is neither vendor nor fleet", kind)
			}
			span := vendorSpan
			if kind == verify.KindFleet {
				span = fleetSpan
			}
			until, err := endOf(expires, span)
			if err != nil {
				return err
			}
			t := verify.Terms{Kind: kind}
			if kind == verify.KindFleet {
				t.Offline = verify.OfflineOrder
			}
			if err := terms.apply(cmd, &t); err != nil {
				return err
			}
			r := pack.NewRoot(t, until)
			if err := addAll(cmd.Context(), r, keys); err != nil {
				return err
			}
			if err := setThresholds(r, thresholds); err != nil {
				return err
			}
			return create(cmd, r, out)
		},
	}
	flags := cmd.Flags()
	for role, what := range map[string]string{
		pack.RoleRoot: "signs the next root", pack.RoleRelease: "signs packages (of a vendor)",
		pack.RoleOrder: "signs orders (of a fleet)", pack.RoleTime: "says what time it is (of a fleet)",
	} {
		keys[role] = flags.StringArray(role+"-key", nil, "public `KEY` that "+what+"; may be given several times")
	}
	flags.StringVar(&expires, "expires", "", "date or span, such as 2036-12-31 or 5y (default "+vendorSpan+" of a vendor's, "+fleetSpan+" of a fleet's)")
	flags.StringArrayVar(&thresholds, "threshold", nil, "`ROLE=N`: how many keys of a role must sign")
	flags.StringVar(&out, "out", "", "file (default 1.root.json or fleet.1.root.json)")
	terms.flags(cmd)
	return cmd
}

// addAll gives the roles their keys, and each its usual threshold.
func addAll(ctx context.Context, r *pack.Root, keys map[string]*[]string) error {
	for _, role := range []string{pack.RoleRoot, pack.RoleRelease, pack.RoleOrder, pack.RoleTime} {
		refs := *keys[role]
		for _, ref := range refs {
			public, err := pack.OpenPublicKey(ctx, ref)
			if err != nil {
				return err
			}
			if err := r.AddKey(role, public); err != nil {
				return fmt.Errorf("%s: %w", ref, err)
			}
		}
		if len(refs) == 0 && role != pack.RoleTime && slices.Contains(pack.Roles(r.Terms().Kind), role) {
			return fmt.Errorf("nobody has the role %s: give --%s-key", role, role)
		}
		if role == pack.RoleRoot {
			if err := r.SetThreshold(role, len(refs)/2+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func setThresholds(r *pack.Root, texts []string) error {
	for _, text := range texts {
		role, number, _ := strings.Cut(text, "=")
		n, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("--threshold %s must look like root=2", text)
		}
		if err := r.SetThreshold(role, n); err != nil {
			return err
		}
	}
	return nil
}

// rootKeyCommand makes add-key and remove-key.
func rootKeyCommand(add bool) *cobra.Command {
	var role, key string
	var thresholds []string
	use, short := "add-key", "Give a key a role in a root that nobody has signed yet"
	if !add {
		use, short = "remove-key", "Take a role from a key in a root that nobody has signed yet"
	}
	cmd := &cobra.Command{
		Use:   use + " --role ROLE --key KEY FILE",
		Short: short,
		Long: short + `. ROLE is
root, release (of a vendor), order or time (of a fleet). KEY is a public key file,
a URI or, of a key that is there, the beginning of its id.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return editRoot(cmd, args[0], "", func(r, _ *pack.Root) error {
				public, err := pack.OpenPublicKey(cmd.Context(), key)
				if err != nil && errors.Is(err, fs.ErrNotExist) {
					public, err = r.KeyByID(key)
				}
				if err != nil {
					return err
				}
				if add {
					return errors.Join(r.AddKey(role, public), setThresholds(r, thresholds))
				}
				// A lower threshold makes room for the key to go.
				return errors.Join(setThresholds(r, thresholds), r.RemoveKey(role, public))
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "root, release, order or time")
	cmd.Flags().StringVar(&key, "key", "", "the key")
	cmd.Flags().StringArrayVar(&thresholds, "threshold", nil, "`ROLE=N`: how many keys of a role must sign")
	require(cmd, "role", "key")
	return cmd
}

func rootRotateCommand() *cobra.Command {
	var terms termFlags
	var expires, out string
	var thresholds []string
	cmd := &cobra.Command{
		Use:   "rotate FILE",
		Short: "Begin the root that follows one: the same keys, a later expiry, not signed yet",
		Long: `Begin the root that follows the one in FILE, with the same keys. Change them with
add-key and remove-key, then let enough root keys of both sign it.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := pack.LoadRoot(args[0])
			if err != nil {
				return err
			}
			t, span := before.Terms(), vendorSpan
			if t.Kind == verify.KindFleet {
				span = fleetSpan
			}
			until, err := endOf(expires, span)
			if err != nil {
				return err
			}
			next, err := before.Next(until)
			if err != nil {
				return err
			}
			if err := terms.apply(cmd, &t); err != nil {
				return err
			}
			next.SetTerms(t)
			if err := setThresholds(next, thresholds); err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(filepath.Dir(args[0]), next.FileName())
			}
			return create(cmd, next, out)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&expires, "expires", "", "date or span, such as 2036-12-31 or 5y (default "+vendorSpan+" of a vendor's, "+fleetSpan+" of a fleet's)")
	flags.StringArrayVar(&thresholds, "threshold", nil, "`ROLE=N`: how many keys of a role must sign")
	flags.StringVar(&out, "out", "", "file (default: beside FILE, named by its number)")
	terms.flags(cmd)
	return cmd
}

func rootSignCommand() *cobra.Command {
	var key, before string
	cmd := &cobra.Command{
		Use:   "sign --key KEY FILE",
		Short: "Sign a root with one root key, and say which signatures are still missing",
		Long: `Sign the root in FILE, in place, with one root key: of its own, or of the root
before it. Nothing else of the machine is needed than this program, the key and
the two files.` + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			signer, err := pack.OpenSigner(cmd.Context(), key)
			if err != nil {
				return err
			}
			return editRoot(cmd, args[0], before, func(r, old *pack.Root) error { return r.Sign(signer, old) })
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "private key file, or the URI of a key in a KMS or HSM")
	cmd.Flags().StringVar(&before, "before", "", "the root before (default: beside FILE, named by its number)")
	require(cmd, "key")
	return cmd
}

func rootShowCommand() *cobra.Command {
	var before string
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show a root, its keys, and which signatures are still missing",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, old, err := loadRoots(args[0], before)
			if err != nil {
				return err
			}
			return r.Print(cmd.OutOrStdout(), old)
		},
	}
	cmd.Flags().StringVar(&before, "before", "", "the root before (default: beside FILE, named by its number)")
	return cmd
}

// loadRoots reads a root and the one before it.
func loadRoots(path, before string) (r, old *pack.Root, err error) {
	if r, err = pack.LoadRoot(path); err != nil {
		return nil, nil, err
	}
	old, err = rootBefore(r, path, before)
	return r, old, err
}

// rootBefore finds the root before one; nil if there is none or it is not at hand.
func rootBefore(r *pack.Root, path, before string) (*pack.Root, error) {
	if before != "" {
		return pack.LoadRoot(before)
	}
	if r.Before() == "" {
		return nil, nil
	}
	old, err := pack.LoadRoot(filepath.Join(filepath.Dir(path), r.Before()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return old, err
}

// editRoot changes a file in place, and shows it.
func editRoot(cmd *cobra.Command, path, before string, edit func(r, old *pack.Root) error) error {
	r, old, err := loadRoots(path, before)
	if err != nil {
		return err
	}
	if err := edit(r, old); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := saveRoot(r, path); err != nil {
		return err
	}
	return r.Print(cmd.OutOrStdout(), old)
}

func saveRoot(r *pack.Root, path string) error {
	data, err := r.Bytes()
	if err != nil {
		return err
	}
	return pack.ReplaceFile(path, data)
}

// create writes a new root, and never over an old one.
func create(cmd *cobra.Command, r *pack.Root, out string) error {
	data, err := r.Bytes()
	if err != nil {
		return err
	}
	if out == "" {
		out = r.FileName()
	}
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("%s is there already, and a root is never overwritten: remove it first if nobody has signed it", out)
	}
	if err := pack.ReplaceFile(out, data); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: expires %s, not signed yet\n", out, r.Expires().Format(time.DateOnly))
	return err
}
