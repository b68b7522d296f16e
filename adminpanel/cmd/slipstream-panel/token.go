package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/shelf"
	"slipstream/adminpanel/shelf/panel"
	"slipstream/agent/wire"
)

// maxTokenLife bounds for how long a token may lie about.
const maxTokenLife = 90 * 24 * time.Hour

// wish is what a token shall be good for.
type wish struct {
	device string
	count  int
	life   time.Duration
}

// token works while a panel runs on the same data.
func token(data *string) *cobra.Command {
	var w wish
	var out string
	cmd := &cobra.Command{
		Use:   "token [DEVICE]",
		Short: "Make a token with which a device enrols at the panel, once",
		Long: "Make a token with which a device enrols at the panel, once, and print it, or write it\n" +
			"to a file that only you can read. It cannot be shown again: only its hash is kept.\n" +
			"For a DEVICE it also lets in what shall take that one's place, or was revoked; without\n" +
			"one it is for any device of another name than those that are enrolled.",
		Example: "  slipstream-panel --data DIR token cam-7 --out cam-7.token\n" +
			"  slipstream enroll --panel https://HOST:8443 --token-file cam-7.token",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				w.device = args[0]
			}
			issue := func() (string, error) { return issue(*data, w) }
			if out != "" {
				return writeToken(out, issue)
			}
			text, err := issue()
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), text)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the token to this file, with mode 0600, instead of printing it")
	cmd.Flags().IntVar(&w.count, "count", 1, "devices that may enrol by it, if it names none")
	cmd.Flags().DurationVar(&w.life, "expires", 24*time.Hour, "how long it is good")
	return cmd
}

func issue(data string, w wish) (string, error) {
	if w.life <= 0 || w.life > maxTokenLife {
		return "", fmt.Errorf("a token is good for at most %v, not %v", maxTokenLife, w.life)
	}
	authority, err := ca.Open(adminpanel.AuthorityDir(data))
	if err != nil {
		return "", err
	}
	tokens, err := shelf.OpenTokens(data)
	if err != nil {
		return "", err
	}
	t := wire.NewToken(wire.Pin(authority.Pinned()))
	if err := tokens.Add(t.ID, t.Secret, w.device, w.count, time.Now().Add(w.life)); err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return t.String(), nil
}

// writeToken opens its file before there is a token, which cannot be shown again
// if it cannot be written. The file appears whole or not at all.
func writeToken(name string, issue func() (string, error)) error {
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
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
