package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/small"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

// Variables that take the place of flags.
const (
	envPanel = "SLIPSTREAM_FLEET_PANEL"
	envToken = "SLIPSTREAM_FLEET_TOKEN"
	envCA    = "SLIPSTREAM_FLEET_CA"
	envFile  = "SLIPSTREAM_FLEET_CONFIG"
)

const (
	maxLogin  = 64 << 10 // bytes of the file and of a token's
	loginDays = 90
)

// login is how commands find their panel: by flags, by the environment, or in a file of the
// user's that "fleet login" writes.
type login struct {
	panel, tokenFile, ca, file string
}

// access is what the file holds.
type access struct {
	Panel string `toml:"panel"`
	Token string `toml:"token"`
	CA    string `toml:"ca,omitempty"`
}

func (l *login) flags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&l.panel, "panel", "", "`URL` of the panel; or $"+envPanel)
	flags.StringVar(&l.tokenFile, "token-file", "", "`FILE` with its API token; or the token in $"+envToken)
	flags.StringVar(&l.ca, "ca", "", "`FILE` of its certificate's authority; or $"+envCA)
	flags.StringVar(&l.file, "config", "", "`FILE` that fleet login keeps; or $"+envFile)
}

// path is where the file is.
func (l *login) path() (string, error) {
	if given := cmp.Or(l.file, os.Getenv(envFile)); given != "" {
		return given, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("there is no directory for your configuration (%w): name a file with --config", err)
	}
	return filepath.Join(dir, "slipstream", "fleet.toml"), nil
}

// read reads the file; none is an empty one, unless somebody has named it.
func (l *login) read() (access, error) {
	var a access
	path, err := l.path()
	if err != nil {
		return a, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && l.file == "" && os.Getenv(envFile) == "" {
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("read how to reach the panel: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return a, fmt.Errorf("others may read %s, which holds a token: chmod 600 %s", path, path)
	}
	text, err := small.File(path, maxLogin)
	if err != nil {
		return a, fmt.Errorf("read how to reach the panel: %w", err)
	}
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&a); err != nil {
		return a, fmt.Errorf("%s holds panel, token and ca, and nothing else: %w", path, err)
	}
	return a, nil
}

// find puts together what flags, environment and file say. The file's token goes to the
// file's panel and to no other.
func (l *login) find() (access, error) {
	kept, err := l.read()
	if err != nil {
		return kept, err
	}
	a := access{Panel: cmp.Or(l.panel, os.Getenv(envPanel), kept.Panel), Token: os.Getenv(envToken), CA: cmp.Or(l.ca, os.Getenv(envCA))}
	if a.Panel == kept.Panel {
		a.Token, a.CA = cmp.Or(a.Token, kept.Token), cmp.Or(a.CA, kept.CA)
	}
	if l.tokenFile != "" {
		text, err := small.File(l.tokenFile, maxLogin)
		if err != nil {
			return a, fmt.Errorf("read the token: %w", err)
		}
		a.Token = strings.TrimSpace(string(text))
	}
	return a, nil
}

// panel is the panel that commands ask.
func (c *cli) panel() (*client.Client, error) {
	a, err := c.login.find()
	switch {
	case err != nil:
		return nil, err
	case a.Panel == "":
		return nil, errors.New("no panel is named: sign in with \"slipstream-panel fleet login URL\", or name one with --panel and give a token in $" + envToken)
	case a.Token == "":
		return nil, fmt.Errorf("there is no token for %s: get one with \"slipstream-panel fleet login %s\", or give one by --token-file or $%s", a.Panel, a.Panel, envToken)
	}
	return client.New(client.Config{URL: a.Panel, Token: a.Token, CA: a.CA})
}

func (c *cli) loginCommand() *cobra.Command {
	var name string
	var days int
	cmd := &cobra.Command{
		Use:   "login URL",
		Short: "Get a token from a panel, and keep it for later commands",
		Long: `Sign in to a panel with a name and a password, have it make an API token that may do
what you may do, and keep it in fleet.toml of your configuration's directory (or the file
that --config names), which only you can read. The password is asked for, or read from
the input's first line; it is not kept.

For scripts make a token of its own on the panel's page, or with "slipstream-panel token
add", with no more rights than the script needs.`,
		Example: "  slipstream-panel fleet login https://panel.example --name ann\n" +
			"  slipstream-panel fleet login https://localhost:8080 --ca panel-ca.pem",
		Args: args(cobra.ExactArgs(1), "the panel's address"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.signIn(cmd.Context(), given[0], name, days)
		},
	}
	cmd.Flags().StringVar(&name, "name", os.Getenv("USER"), "your account's name at the panel")
	cmd.Flags().IntVar(&days, "days", loginDays, "how long the token is good")
	return cmd
}

func (c *cli) signIn(ctx context.Context, url, name string, days int) error {
	ca := cmp.Or(c.login.ca, os.Getenv(envCA))
	if ca != "" {
		full, err := filepath.Abs(ca)
		if err != nil {
			return err
		}
		ca = full
	}
	panel, err := client.New(client.Config{URL: url, CA: ca})
	if err != nil {
		return err
	}
	defer panel.Close()
	password, err := c.password("Password of " + name + ":")
	if err != nil {
		return err
	}
	token, err := tokenByPassword(ctx, panel, name, password, days)
	if err != nil {
		return err
	}
	path, err := c.login.path()
	if err != nil {
		return err
	}
	if err := keepAccess(path, access{Panel: url, Token: token.Text, CA: ca}); err != nil {
		return err
	}
	if err := c.done("signed in to %s as %s until %s; %s holds the token", url, name, day(token.Until), path); err != nil {
		return err
	}
	c.next("slipstream-panel fleet devices")
	return nil
}

// tokenByPassword opens a session for as long as it takes to make a token.
func tokenByPassword(ctx context.Context, panel *client.Client, name, password string, days int) (t view.Token, err error) {
	in, err := panel.SignIn(ctx, name, password)
	if err != nil {
		return t, err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, in.SignOut(last))
	}()
	me, err := in.Me(ctx)
	if err != nil {
		return t, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a machine without a name"
	}
	return in.AddToken(ctx, view.TokenRequest{Name: words.Fit("fleet commands on "+host, 80, "~"), Grants: me.Grants, Until: time.Now().AddDate(0, 0, days)})
}

// keepAccess writes the file, which appears whole and for its owner alone.
func keepAccess(path string, a access) error {
	text, err := toml.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	if err := writeWhole(path, text); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	return nil
}

// writeWhole replaces a file by one that only its owner can read.
func writeWhole(path string, text []byte) error {
	return writeNew(path, func(f *os.File) error {
		_, err := f.Write(text)
		return err
	})
}

// writeNew makes a file that appears under its name when it is whole.
func writeNew(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".slipstream-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, and may, after the rename
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (c *cli) meCommand() *cobra.Command {
	return &cobra.Command{
		Use: "me", Short: "Show who the panel takes you for, and what you may do", Args: args(cobra.NoArgs, "no arguments"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, _ []string) error {
			me, err := panel.Me(ctx)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(me)
			}
			fmt.Fprintf(c.out, "%s %s at %s, for another %s\n", me.Kind, words.Clean(me.Name), panel.URL(), words.Span(time.Duration(me.UntilMS)*time.Millisecond))
			for _, g := range me.Grants {
				fmt.Fprintf(c.out, "  %s of %s\n", words.Clean(g.Role), words.Clean(cmp.Or(g.Selector, "all devices")))
			}
			return nil
		}),
	}
}

// asks makes a command of what asks a panel.
func (c *cli) asks(do func(ctx context.Context, panel *client.Client, given []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, given []string) error {
		panel, err := c.panel()
		if err != nil {
			return err
		}
		defer panel.Close()
		return do(cmd.Context(), panel, given)
	}
}
