package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/adminpanel"
	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/client"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/backup"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/store/schema"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

// here is a command on the panel's own machine: it works on the panel's store, or, where a
// panel's address is given, through the panel as it runs.
type here struct {
	cli

	where where
}

const hereHelp = `It works on the store of a panel that does not run, which --data or --config names; a store
in a file can be open once.`

const throughHelp = `It works on the store of a panel that does not run, which --data or --config names, and
through a running one with --panel URL.`

// storeFlags are those by which a command finds a store.
func (h *here) storeFlags(cmd *cobra.Command) *cobra.Command {
	h.under(cmd)
	flags := cmd.PersistentFlags()
	flags.StringVar(&h.where.file, "config", "", "`FILE` of the panel's configuration; without it the environment's SLIPSTREAM_PANEL_… and defaults count")
	flags.StringVar(&h.where.data, "data", "", "`DIRECTORY` of the panel's data, in place of what the configuration says")
	return cmd
}

// panelFlags are those by which it finds a running panel instead.
func (h *here) panelFlags(cmd *cobra.Command) *cobra.Command {
	flags := cmd.PersistentFlags()
	flags.StringVar(&h.login.panel, "panel", "", "`URL` of a running panel, to go through it")
	flags.StringVar(&h.login.tokenFile, "token-file", "", "`FILE` with an administrator's API token for it")
	flags.StringVar(&h.login.ca, "ca", "", "`FILE` of the only authorities that are believed about it")
	return cmd
}

// open opens the store, which nobody else may have open if it is a file.
func (h *here) open(ctx context.Context) (store.Store, error) {
	cfg, err := h.where.load()
	if err != nil {
		return nil, err
	}
	s, err := adminpanel.OpenStore(ctx, cfg)
	if _, busy := errors.AsType[*bolt.InUseError](err); busy {
		return nil, fmt.Errorf("the panel runs and has its store in %s open: stop it for as long as this takes, or, where the command has --panel, go through it", cfg.Data)
	}
	return s, err
}

// onStore makes a command of what needs the store.
func (h *here) onStore(do func(ctx context.Context, s store.Store, given []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, given []string) (err error) {
		s, err := h.open(cmd.Context())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return do(cmd.Context(), s, given)
	}
}

// authOf is who may do what on a store, for one who has the store anyway.
func authOf(ctx context.Context, s store.Store) (*auth.Auth, error) {
	if err := schema.Prepare(ctx, s); err != nil {
		return nil, err
	}
	return auth.New(s, audit.New(s), auth.Config{Plain: true}, slog.New(slog.DiscardHandler))
}

// people are accounts and tokens, of a running panel or of a store.
type people interface {
	Accounts(ctx context.Context) (view.Accounts, error)
	AddAccount(ctx context.Context, req view.AccountRequest) (view.Account, error)
	PatchAccount(ctx context.Context, name string, patch view.AccountPatch, rev int64) (view.Account, error)
	RemoveAccount(ctx context.Context, name string) error
	Tokens(ctx context.Context) (view.Tokens, error)
	AddToken(ctx context.Context, req view.TokenRequest) (view.Token, error)
	RemoveToken(ctx context.Context, id string) error
}

var (
	_ people = (*client.Client)(nil)
	_ people = kept{}
)

// kept are those of a store, in the name of the machine's administrator, or of an account
// where things are to belong to one.
type kept struct {
	auth   *auth.Auth
	caller auth.Caller
}

func (k kept) Accounts(ctx context.Context) (view.Accounts, error) {
	list, err := k.auth.Accounts(ctx, k.caller)
	return view.Accounts{Accounts: list}, err
}

func (k kept) AddAccount(ctx context.Context, req view.AccountRequest) (view.Account, error) {
	return k.auth.AddAccount(ctx, k.caller, req)
}

func (k kept) PatchAccount(ctx context.Context, name string, patch view.AccountPatch, rev int64) (view.Account, error) {
	return k.auth.ChangeAccount(ctx, k.caller, name, patch, rev)
}

func (k kept) RemoveAccount(ctx context.Context, name string) error {
	return k.auth.RemoveAccount(ctx, k.caller, name, 0)
}

func (k kept) Tokens(ctx context.Context) (view.Tokens, error) {
	list, err := k.auth.Tokens(ctx, k.caller)
	return view.Tokens{Tokens: list}, err
}

func (k kept) AddToken(ctx context.Context, req view.TokenRequest) (view.Token, error) {
	return k.auth.AddToken(ctx, k.caller, req)
}

func (k kept) RemoveToken(ctx context.Context, id string) error {
	return k.auth.RemoveToken(ctx, k.caller, id)
}

// onPeople makes a command of what is about people. With the name of an account it is done
// as that one: a token belongs to somebody.
func (h *here) onPeople(as *string, do func(ctx context.Context, p people, given []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, given []string) error {
		if h.login.panel != "" {
			return h.through(cmd.Context(), *as, func(p people) error { return do(cmd.Context(), p, given) })
		}
		return h.onStore(func(ctx context.Context, s store.Store, given []string) error {
			a, err := authOf(ctx, s)
			if err != nil {
				return err
			}
			caller, err := a.Console(ctx, *as)
			if err != nil {
				return fmt.Errorf("account %q: %w", *as, err)
			}
			return do(ctx, kept{a, caller}, given)
		})(cmd, given)
	}
}

// through goes through a running panel: with a token, or as a person with a password where
// the panel wants one, as it does for tokens.
func (h *here) through(ctx context.Context, as string, do func(people) error) (err error) {
	if as == "" {
		panel, err := h.panel()
		if err != nil {
			return err
		}
		defer panel.Close()
		return do(panel)
	}
	panel, err := client.New(client.Config{URL: h.login.panel, CA: h.login.ca})
	if err != nil {
		return err
	}
	defer panel.Close()
	password, err := h.password("Password of " + as + ":")
	if err != nil {
		return err
	}
	in, err := panel.SignIn(ctx, as, password)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.SignOut(context.WithoutCancel(ctx))) }()
	return do(in)
}

func backupCommand() *cobra.Command {
	h := &here{}
	var packages bool
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write all that a panel keeps into one file",
		Long: `Write what a panel keeps into a file that is not there yet, as it is at one moment: devices,
releases' records, rollouts, people, settings and the audit log; the panel's authority, by
which its devices know it; the keys that sign orders; and with --packages the packages of
releases. Without them the packages are to be copied, or uploaded again. Not in it are the
configuration and what else that names (the vendor's root, TLS certificates, secrets),
sessions, and uploads under way.

The file holds keys in the clear: who can read it can speak for the panel to its devices. Only
you can read it here; where it goes on, encrypt it (age, gpg) and guard it as the panel.

` + throughHelp + ` With --panel it takes an administrator's token over all
devices, the audit log tells of it, and the panel needs room in its data for a copy. A cluster
is read while its panels work.`,
		Example: "  slipstream-panel backup monday.backup --data /var/lib/slipstream-panel\n" +
			"  slipstream-panel backup monday.backup --packages --panel https://panel.example --token-file token",
		Args: args(cobra.ExactArgs(1), "one FILE"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if h.login.panel != "" {
				return h.backUpThrough(cmd.Context(), given[0], packages)
			}
			return h.onStore(func(ctx context.Context, s store.Store, given []string) error {
				cfg, err := h.where.load()
				if err != nil {
					return err
				}
				info, err := backup.ToFile(ctx, s, adminpanel.Beside(cfg, s, packages), given[0])
				return h.backedUp(given[0], info, err)
			})(cmd, given)
		},
	}
	cmd.Flags().BoolVar(&packages, "packages", false, "the packages of releases, too")
	return h.panelFlags(h.storeFlags(cmd))
}

func (h *here) backUpThrough(ctx context.Context, path string, packages bool) error {
	panel, err := h.panel()
	if err != nil {
		return err
	}
	defer panel.Close()
	info, err := backup.Receive(path, func(w io.Writer) error { return panel.Backup(ctx, w, packages) })
	return h.backedUp(path, info, err)
}

func (h *here) backedUp(path string, info backup.Info, err error) error {
	if err != nil {
		return err
	}
	return h.done("%s holds %s, as they were at %s; among them are keys: guard it as the panel itself", path, contents(info), moment(info.At))
}

// contents are what a backup has.
func contents(info backup.Info) string {
	return words.Count(int(info.Lines), "record") + " and " + words.Count(int(info.Files), "file")
}

func restoreCommand() *cobra.Command {
	h := &here{}
	return h.storeFlags(&cobra.Command{
		Use: "restore FILE", Short: "Make a panel of a backup",
		Long: `Check a backup, fill an empty store with it, of the same kind as it came from or of the
other one, and put what else it has into the panel's data: the authority into ca, the keys of
orders into orders, where the configuration has to name them, and packages to where
store.releases says. Nothing that is there is replaced. Everybody has to sign in anew. As
who runs the panel, so that it can read what is made.

` + hereHelp,
		Example: "  sudo -u slipstream-panel slipstream-panel restore monday.backup --config /etc/slipstream-panel/panel.toml",
		Args:    args(cobra.ExactArgs(1), "one FILE"),
		RunE: h.onStore(func(ctx context.Context, s store.Store, given []string) error {
			cfg, err := h.where.load()
			if err != nil {
				return err
			}
			info, err := adminpanel.Restore(ctx, cfg, s, given[0])
			if err != nil {
				return err
			}
			return h.done("the panel has %s again, as they were at %s", contents(info), moment(info.At))
		}),
	})
}

func setupTokenCommand() *cobra.Command {
	h := &here{}
	return h.storeFlags(&cobra.Command{
		Use: "setup-token", Short: "Make the token by which a new panel gets its first account",
		Long: `Make the token by which a new panel gets its first account, and print it; one that was
printed before is good no more. A panel prints one when it starts.

` + hereHelp + `

Exit status: 0 done, 1 error, 2 there is an account already.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: h.onStore(func(ctx context.Context, s store.Store, _ []string) error {
			a, err := authOf(ctx, s)
			if err != nil {
				return err
			}
			token, err := a.SetupToken(ctx)
			switch {
			case err != nil:
				return err
			case token == "":
				return h.finish(result{Exit: 2, Code: "set-up", Message: "the panel has an account already; to make another: slipstream-panel user add NAME"})
			case h.json:
				return h.printJSON(map[string]string{"token": token})
			}
			_, err = fmt.Fprintln(h.out, token)
			return err
		}),
	})
}

func verifyCommand() *cobra.Command {
	h := &here{}
	var anchor string
	cmd := &cobra.Command{
		Use: "verify [FILE]", Short: "Check that no line of the audit log was changed",
		Long: `Check the chain of the audit log, of a panel's store or of a FILE that was exported ("-" is
the input): that no line was changed, removed, added or put elsewhere. It prints the number
and the hash of the last line. Kept elsewhere and given as --through LINE:HASH the next
time, they show that nobody has made the whole chain anew.

Without a FILE: ` + strings.ToLower(hereHelp[:1]) + hereHelp[1:],
		Args: args(cobra.MaximumNArgs(1), "at most one FILE"),
	}
	cmd.Flags().StringVar(&anchor, "through", "", "`LINE:HASH` that an earlier check has printed")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		from, err := anchorOf(anchor)
		if err != nil {
			return err
		}
		if len(given) > 0 {
			return h.verifyFile(given[0], from)
		}
		return h.onStore(func(ctx context.Context, s store.Store, _ []string) error {
			head, err := audit.VerifyFrom(ctx, s, from)
			return h.verified(head, err)
		})(cmd, nil)
	}
	return h.storeFlags(group("audit", "Check the audit log", "", cmd))
}

func anchorOf(text string) (h audit.Head, err error) {
	if text == "" {
		return h, nil
	}
	if n, err := fmt.Sscanf(text, "%d:%s", &h.Seq, &h.Hash); err != nil || n != 2 || h.Seq < 1 {
		return h, fmt.Errorf("--through %q is not a line's number, a colon and its hash", text)
	}
	return h, nil
}

func (h *here) verifyFile(name string, from audit.Head) error {
	in := h.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read the exported audit log: %w", err)
		}
		defer f.Close()
		in = f
	}
	head, err := audit.VerifyExport(in, from)
	return h.verified(head, err)
}

func (h *here) verified(head audit.Head, err error) error {
	switch {
	case err != nil:
		return err
	case h.json:
		return h.printJSON(head)
	case head.Seq == 0:
		return h.done("the audit log is empty")
	}
	return h.done("%s are as they were written; the last is %d:%s", words.Count(int(head.Seq), "line"), head.Seq, head.Hash)
}
