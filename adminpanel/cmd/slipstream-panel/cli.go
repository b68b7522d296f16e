package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/client"
	"slipstream/agent/control"
	"slipstream/agent/words"
)

// exitWaits is the code of what waits for a person; the others are those of the device's
// commands. (A device that waits to be rebooted, which has this code there, does too.)
const exitWaits = control.ExitReboot

// exitHelp is in the help of commands that have more codes than success and error.
const exitHelp = `Exit status: 0 done, 1 error, 2 nothing to do, 3 refused and nothing changed,
4 it waits for a person, 5 the version before is back.`

// cli is one run of a command that asks a panel or a store: where its answers go, and how.
type cli struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	login    login
}

// exitCode ends the command with this code, everything having been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// result is what a command says with --json when it has nothing else to show, and of errors.
type result struct {
	Exit    int    `json:"exit"`
	Message string `json:"message"`
	Code    string `json:"code,omitempty"`
}

// resultOf tells what became of a command, with what a person would do now.
func resultOf(err error) result {
	r := result{Exit: control.ExitError, Message: err.Error()}
	if p, ok := errors.AsType[*client.Problem](err); ok {
		r.Code = p.Code
		if p.Status >= 400 && p.Status < 500 {
			r.Exit = control.ExitRefused
		}
		if p.Status == 401 {
			r.Message += "; to get a token: slipstream-panel fleet login URL"
		}
	}
	if e, ok := errors.AsType[*auth.Error](err); ok {
		r.Exit, r.Code = control.ExitRefused, e.Code
	}
	if e, ok := errors.AsType[*client.UnreachableError](err); ok {
		r.Code = "unreachable"
		if e.Untrusted() {
			r.Message += "; name its authority with --ca FILE"
		}
	}
	if errors.Is(err, context.Canceled) {
		r.Message = "interrupted; what was asked for goes on by itself"
	}
	return r
}

// end says an error, in the one way or the other, and returns the exit code.
func (c *cli) end(err error) int {
	if err == nil {
		return control.ExitDone
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	r := resultOf(err)
	if c.json {
		_ = c.printJSON(r) // the exit code says it too
		return r.Exit
	}
	for line := range strings.Lines(r.Message) { // several problems come one a line
		fmt.Fprintln(c.err, words.Clean(strings.TrimSpace(line)))
	}
	return r.Exit
}

// done says how a command ended that has nothing to show.
func (c *cli) done(format string, a ...any) error {
	return c.finish(result{Message: fmt.Sprintf(format, a...)})
}

func (c *cli) finish(r result) error {
	if c.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
	} else {
		w := c.out
		if r.Exit == control.ExitError || r.Exit == control.ExitRefused {
			w = c.err
		}
		fmt.Fprintln(w, words.Clean(r.Message))
	}
	if r.Exit == control.ExitDone {
		return nil
	}
	return exitCode(r.Exit)
}

// next prints what a person would do now.
func (c *cli) next(format string, a ...any) {
	if !c.json {
		fmt.Fprintf(c.out, "next: "+format+"\n", a...)
	}
}

func (c *cli) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printLine prints a value as one line, for what goes on until it is interrupted.
func (c *cli) printLine(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows below a head, the cells lined up. A column that is empty in all rows is
// left out.
func (c *cli) table(head []string, rows [][]string) error {
	for i := range head {
		if len(rows) > 0 && !slices.ContainsFunc(rows, func(row []string) bool { return row[i] != "" }) {
			head[i] = ""
		}
	}
	return c.columns("", append([][]string{head}, rows...))
}

// list prints rows below a head, or the value that they are of for a script, or that there is
// none of that name.
func (c *cli) list(v any, name string, head []string, rows [][]string) error {
	switch {
	case c.json:
		return c.printJSON(v)
	case len(rows) == 0:
		_, err := fmt.Fprintln(c.out, "no "+name)
		return err
	}
	return c.table(head, rows)
}

// facts prints what is known of one thing below its name.
func (c *cli) facts(name string, rows [][]string) error {
	fmt.Fprintln(c.out, words.Clean(strings.TrimSpace(name)))
	return c.columns("  ", rows)
}

func (c *cli) columns(indent string, rows [][]string) error {
	for _, row := range rows {
		for i := range row {
			row[i] = words.Clean(row[i])
		}
	}
	var b strings.Builder
	width := widthOf(c.out)
	for _, line := range words.Columns(rows) {
		if line = strings.TrimRight(indent+line, " "); width > 0 {
			line = words.Fit(line, width, "~")
		}
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(c.out, b.String())
	return err
}

// widthOf is that of a terminal. Elsewhere nothing is cut, and it is 0.
func widthOf(w io.Writer) int {
	if !isTerminal(w) {
		return 0
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd())) //nolint:forcetypeassert // a terminal is one
	if err != nil {
		return 0
	}
	return width
}

// isTerminal tells whether a person is at the other end.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const maxTyped = 4096 // bytes of one typed line

// agreed asks a person, if there is one.
func (c *cli) agreed(question string) (bool, error) {
	if c.json || !isTerminal(c.in) {
		return false, errors.New("nobody can be asked here whether this is meant: say so with --yes")
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(io.LimitReader(c.in, maxTyped)).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// sure asks unless a flag has answered.
func (c *cli) sure(yes bool, format string, a ...any) error {
	if yes {
		return nil
	}
	agreed, err := c.agreed(fmt.Sprintf(format, a...))
	if err == nil && !agreed {
		err = c.finish(result{Exit: control.ExitRefused, Code: "not-agreed", Message: "nothing has changed"})
	}
	return err
}

// password asks for a secret without showing it; where there is no terminal it is the
// first line of the input.
func (c *cli) password(question string) (string, error) {
	f, ok := c.in.(*os.File)
	if !ok || !isTerminal(f) {
		line, err := bufio.NewReader(io.LimitReader(c.in, maxTyped)).ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			return line, nil
		}
		return "", errors.Join(errors.New("the password is to be the first line of the input, and there is none"), notEOF(err))
	}
	fmt.Fprint(c.err, question+" ")
	text, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(c.err)
	return string(text), err
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// newPassword asks twice on a terminal: a typing error could not be seen.
func (c *cli) newPassword(name string) (string, error) {
	first, err := c.password("Password for " + name + " (12 characters or more):")
	if err != nil || !isTerminal(c.in) {
		return first, err
	}
	second, err := c.password("Once more:")
	if err == nil && first != second {
		err = errors.New("these were two different passwords: nothing has changed")
	}
	return first, err
}

// args wraps cobra's check of arguments so that a mistake names the way out.
func args(check cobra.PositionalArgs, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if check(cmd, given) != nil {
			return fmt.Errorf("%s takes %s; see: %s --help", cmd.CommandPath(), want, cmd.CommandPath())
		}
		return nil
	}
}

// group is a command that is only there for those below it.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: knownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(commands...)
	return cmd
}

// knownVerb answers a word that is no verb.
func knownVerb(cmd *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // letters that may be wrong
	if near := cmd.SuggestionsFor(given[0]); len(near) > 0 {
		return fmt.Errorf("there is no verb %q; did you mean %s?", given[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no verb %q; see: %s --help", given[0], cmd.CommandPath())
}
