package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/store"
)

// token works while a panel runs on the same data.
func token(data *string) *cobra.Command {
	var device, out string
	var replace bool
	cmd := &cobra.Command{
		Use:   "token DEVICE",
		Short: "Make the token with which a device links to the panel",
		Long: "Make the token with which a device links to the panel, and print it, or write it\n" +
			"to a file that only you can read. It cannot be shown again: only its hash is kept.",
		Example: "  slipstream-panel --data DIR token cam-7 --out cam-7.token",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := named(device, args)
			if err != nil {
				return err
			}
			tokens, err := store.OpenTokens(*data)
			if err != nil {
				return err
			}
			issue := func() (string, error) { return issue(tokens, name, replace) }
			if out != "" {
				return writeToken(out, replace, issue)
			}
			text, err := issue()
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), text)
			return nil
		},
	}
	cmd.Flags().StringVar(&device, "device", "", "name of the device, instead of the argument")
	cmd.Flags().StringVar(&out, "out", "", "write the token to this file, with mode 0600, instead of printing it")
	cmd.Flags().BoolVar(&replace, "replace", false, "make a new token in the place of an earlier one, which stops working")
	return cmd
}

// named takes the device from the argument or from --device.
func named(device string, args []string) (string, error) {
	switch {
	case len(args) == 0 && device == "":
		return "", errors.New("name the device as in its configuration: slipstream-panel token DEVICE")
	case len(args) == 0:
		return device, nil
	case device != "" && device != args[0]:
		return "", fmt.Errorf("two devices are named, %s and %s: a token is for one", args[0], device)
	}
	return args[0], nil
}

func issue(tokens store.Tokens, device string, replace bool) (string, error) {
	text, err := tokens.Make(device, replace)
	switch {
	case errors.Is(err, store.ErrEnrolled):
		return "", fmt.Errorf("make a token for %s: %w; --replace makes a new one", device, err)
	case err != nil:
		return "", fmt.Errorf("make a token for %s: %w", device, err)
	}
	return text, nil
}

// writeToken opens its file before there is a token, which cannot be shown again
// if it cannot be written. The file appears whole or not at all.
func writeToken(name string, replace bool, issue func() (string, error)) error {
	if _, err := os.Lstat(name); !replace && !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return fmt.Errorf("write token to %s: %w", name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".token-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	defer os.Remove(f.Name()) // fails, and may, after the rename
	text, err := issue()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = fmt.Fprintln(f, text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	return nil
}
