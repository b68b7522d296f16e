package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

// grantsOf reads what a flag says of each grant: a role, and after a blank a selector.
func grantsOf(texts []string) []view.Grant {
	grants := make([]view.Grant, len(texts))
	for i, text := range texts {
		grants[i].Role, grants[i].Selector, _ = strings.Cut(strings.TrimSpace(text), " ")
	}
	return grants
}

func grantWords(grants []view.Grant) string {
	texts := make([]string, len(grants))
	for i, g := range grants {
		texts[i] = strings.TrimSpace(g.Role + " " + g.Selector)
	}
	return strings.Join(texts, "; ")
}

const grantHelp = `A grant is a role (viewer, operator, releaser or admin), and over which devices, by a
SELECTOR: --grant admin, or --grant "operator site:north".`

func userCommand() *cobra.Command {
	h := &here{}
	cmd := group("user", "Make and change the panel's accounts", "Make and change the panel's accounts.\n\n"+throughHelp,
		h.userAdd(), h.userList(), h.userPassword(), h.userAble("disable", true), h.userAble("enable", false), h.userGrant(), h.userRemove())
	return h.panelFlags(h.storeFlags(cmd))
}

func (h *here) userAdd() *cobra.Command {
	var grants []string
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Make an account with a password",
		Long: "Make an account. Its password is asked for, or read from the input's first line.\n\n" + grantHelp + "\n\n" + throughHelp,
		Args: args(cobra.ExactArgs(1), "one NAME"),
		RunE: h.onPeople(new(string), func(ctx context.Context, p people, given []string) error {
			password, err := h.newPassword(given[0])
			if err != nil {
				return err
			}
			a, err := p.AddAccount(ctx, view.AccountRequest{Name: given[0], Password: password, Grants: grantsOf(grants)})
			switch {
			case err != nil:
				return err
			case h.json:
				return h.printJSON(a)
			}
			return h.done("%s has an account: %s", a.Name, cmp.Or(grantWords(a.Grants), "it may do nothing"))
		}),
	}
	cmd.Flags().StringArrayVar(&grants, "grant", []string{view.RoleViewer}, "what it may do; may be repeated")
	return cmd
}

func (h *here) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List accounts", Args: args(cobra.NoArgs, "no arguments"),
		RunE: h.onPeople(new(string), func(ctx context.Context, p people, _ []string) error {
			list, err := p.Accounts(ctx)
			if err != nil {
				return err
			}
			rows := make([][]string, len(list.Accounts))
			for i, a := range list.Accounts {
				state := ""
				if a.Disabled {
					state = "disabled"
				}
				rows[i] = []string{a.Name, grantWords(a.Grants), state, cmp.Or(moment(a.LastSeen), "never")}
			}
			return h.list(list, "account", []string{"NAME", "MAY", "STATE", "SIGNED IN"}, rows)
		}),
	}
}

func (h *here) userPassword() *cobra.Command {
	return &cobra.Command{
		Use: "passwd NAME", Short: "Give an account another password",
		Long: "Give an account another password, which is asked for, or read from the input's first line.\nWhoever is signed in by it is signed out.\n\n" + throughHelp,
		Args: args(cobra.ExactArgs(1), "one NAME"),
		RunE: h.onPeople(new(string), func(ctx context.Context, p people, given []string) error {
			password, err := h.newPassword(given[0])
			if err != nil {
				return err
			}
			if _, err := p.PatchAccount(ctx, given[0], view.AccountPatch{Password: &password}, 0); err != nil {
				return err
			}
			return h.done("%s has another password, and is signed out everywhere", given[0])
		}),
	}
}

func (h *here) userAble(verb string, disabled bool) *cobra.Command {
	short := "Let an account sign in again"
	if disabled {
		short = "Let an account sign in no more, and its tokens neither"
	}
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: args(cobra.ExactArgs(1), "one NAME"),
		RunE: h.onPeople(new(string), func(ctx context.Context, p people, given []string) error {
			if _, err := p.PatchAccount(ctx, given[0], view.AccountPatch{Disabled: &disabled}, 0); err != nil {
				return err
			}
			return h.done("%s is %sd", given[0], verb)
		}),
	}
}

func (h *here) userGrant() *cobra.Command {
	var grants []string
	cmd := &cobra.Command{
		Use: "grant NAME --grant GRANT", Short: "Give an account other grants, in place of those that it has",
		Long:    "Give an account other grants, in place of those that it has. It has them at once, and its tokens\nmay never do more. Grants of who signs in at an identity provider are given there.\n\n" + grantHelp + "\n\n" + throughHelp,
		Example: "  slipstream-panel user grant bob --grant viewer --grant \"operator site:north\" --data DIR",
		Args:    args(cobra.ExactArgs(1), "one NAME"),
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if !cmd.Flags().Changed("grant") {
			return errors.New("say what the account may do with --grant; --grant \"\" is nothing")
		}
		fresh := grantsOf(slices.DeleteFunc(grants, func(text string) bool { return text == "" }))
		return h.onPeople(new(string), func(ctx context.Context, p people, given []string) error {
			a, err := p.PatchAccount(ctx, given[0], view.AccountPatch{Grants: &fresh}, 0)
			switch {
			case err != nil:
				return err
			case h.json:
				return h.printJSON(a)
			}
			return h.done("%s: %s", a.Name, cmp.Or(grantWords(a.Grants), "it may do nothing"))
		})(cmd, given)
	}
	cmd.Flags().StringArrayVar(&grants, "grant", nil, "what it may do; may be repeated")
	return cmd
}

func (h *here) userRemove() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "Delete an account, its sessions and its tokens",
		Long: "Delete an account, its sessions and its tokens. What it did stays in the audit log.\n\n" + throughHelp,
		Args: args(cobra.ExactArgs(1), "one NAME"),
		RunE: h.onPeople(new(string), func(ctx context.Context, p people, given []string) error {
			if err := h.sure(yes, "Delete the account %s and its tokens?", given[0]); err != nil {
				return err
			}
			if err := p.RemoveAccount(ctx, given[0]); err != nil {
				return err
			}
			return h.done("%s has no account any more", given[0])
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// tokenVerbs are the commands about API tokens.
func tokenVerbs(cmd *cobra.Command) *cobra.Command {
	h := &here{}
	below := []*cobra.Command{h.tokenAdd(), h.tokenList(), h.tokenRemove()}
	for _, one := range below {
		h.panelFlags(h.storeFlags(one))
		cmd.AddCommand(one)
	}
	return cmd
}

func (h *here) tokenAdd() *cobra.Command {
	var grants []string
	var as, out string
	life := life(loginDays * 24 * time.Hour)
	cmd := &cobra.Command{
		Use: "add NAME --user ACCOUNT", Short: "Make an API token",
		Long: `Make an API token, called NAME, and print it. It cannot be shown again: only its hash is
kept. It belongs to an account, and may never do what that may not do. Through a running
panel the account's password is asked for.

` + grantHelp + "\n\n" + throughHelp,
		Example: "  slipstream-panel token add deploy --user ann --grant \"releaser site:staging\" --for 90d --data DIR",
		Args:    args(cobra.ExactArgs(1), "one NAME"),
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if as == "" {
			return errors.New("a token belongs to an account: name it with --user")
		}
		return h.onPeople(&as, func(ctx context.Context, p people, given []string) error {
			t, err := p.AddToken(ctx, view.TokenRequest{Name: given[0], Grants: grantsOf(grants), Until: life.from(time.Now())})
			if err != nil {
				return err
			}
			return h.showToken(ctx, p, t, out)
		})(cmd, given)
	}
	flags := cmd.Flags()
	flags.StringVar(&as, "user", "", "`ACCOUNT` that it belongs to")
	flags.StringArrayVar(&grants, "grant", []string{view.RoleViewer}, "what it may do; may be repeated")
	flags.Var(&life, "for", "how long it is good, such as 90d")
	flags.StringVar(&out, "out", "", "write it into this `FILE`, which only you can read, in place of printing it")
	return cmd
}

func (h *here) showToken(ctx context.Context, p people, t view.Token, out string) error {
	if out != "" {
		if err := writeWhole(out, []byte(t.Text+"\n")); err != nil {
			return errors.Join(fmt.Errorf("write the token: %w", err), p.RemoveToken(ctx, t.ID))
		}
		t.Text = ""
	}
	switch {
	case h.json:
		return h.printJSON(t)
	case out != "":
		return h.done("%s holds the token %s, which is good until %s", out, t.ID, moment(t.Until))
	}
	_, err := fmt.Fprintln(h.out, words.Clean(t.Text))
	return err
}

func (h *here) tokenList() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use: "list", Short: "List API tokens, without their texts", Args: args(cobra.NoArgs, "no arguments"),
		RunE: h.onPeople(&as, func(ctx context.Context, p people, _ []string) error {
			list, err := p.Tokens(ctx)
			if err != nil {
				return err
			}
			rows := make([][]string, len(list.Tokens))
			for i, t := range list.Tokens {
				rows[i] = []string{t.ID, t.Name, t.By, grantWords(t.Grants), day(t.Until), cmp.Or(moment(t.LastUsed), "never")}
			}
			return h.list(list, "token", []string{"ID", "NAME", "OF", "MAY", "UNTIL", "USED"}, rows)
		}),
	}
	cmd.Flags().StringVar(&as, "user", "", "`ACCOUNT` whose they are; through a running panel it is needed")
	return cmd
}

func (h *here) tokenRemove() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use: "remove ID", Short: "End an API token", Args: args(cobra.ExactArgs(1), "one ID"),
		RunE: h.onPeople(&as, func(ctx context.Context, p people, given []string) error {
			if err := p.RemoveToken(ctx, given[0]); err != nil {
				return err
			}
			return h.done("the token %s lets nobody in any more", given[0])
		}),
	}
	cmd.Flags().StringVar(&as, "user", "", "`ACCOUNT` whose it is; through a running panel it is needed")
	return cmd
}
