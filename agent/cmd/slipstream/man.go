package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"slipstream/agent/control"
)

func (c *cli) manCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [VERB …]",
		Short: "Write the manual pages of all verbs, or print one",
		Long: `Print the manual page of a verb, or of slipstream itself, or write those of all verbs
into a directory; they say what --help says. To read one: slipstream man status | man -l -

Exit status: 0, or 1 if they cannot be written.`,
		RunE: func(cmd *cobra.Command, given []string) error {
			if dir != "" {
				return c.manPages(cmd.Root(), dir)
			}
			verb, rest, err := cmd.Root().Find(given)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no verb %q; see: slipstream --help", strings.Join(given, " "))
			}
			_, err = c.out.Write(manPage(verb))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write all pages into this `DIRECTORY`")
	return cmd
}

// manPages writes one page for each verb.
func (c *cli) manPages(root *cobra.Command, dir string) error {
	root.InitDefaultCompletionCmd()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the manual: %w", err)
	}
	n := 0
	var write func(*cobra.Command) error
	write = func(verb *cobra.Command) error {
		path := filepath.Join(dir, pageName(verb)+".1")
		if err := os.WriteFile(path, manPage(verb), 0o644); err != nil {
			return fmt.Errorf("write the manual: %w", err)
		}
		n++
		for _, v := range verb.Commands() {
			if v.IsAvailableCommand() {
				if err := write(v); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := write(root); err != nil {
		return err
	}
	return c.finish(control.Result{Message: fmt.Sprintf("%s in %s", count(n, "page"), dir)})
}

func pageName(verb *cobra.Command) string {
	return strings.ReplaceAll(verb.CommandPath(), " ", "-")
}

// manPage is a verb's page in the language of man(7), without a date: the same sources
// make the same page.
func manPage(verb *cobra.Command) []byte {
	var b bytes.Buffer
	name := pageName(verb)
	fmt.Fprintf(&b, ".TH %s 1 \"\" Slipstream \"Slipstream\"\n", strings.ToUpper(roff(name)))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(verb.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(verb.UseLine()))
	b.WriteString(".SH DESCRIPTION\n")
	paragraphs(&b, cmp.Or(verb.Long, verb.Short))
	if len(verb.Aliases) > 0 {
		fmt.Fprintf(&b, ".SH ALIASES\n%s\n", roff(strings.Join(verb.Aliases, ", ")))
	}
	options(&b, "OPTIONS", verb.NonInheritedFlags())
	options(&b, "COMMON OPTIONS", verb.InheritedFlags())
	if verb.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(verb.Example))
	}
	seeAlso(&b, verb)
	return b.Bytes()
}

func paragraphs(b *bytes.Buffer, text string) {
	for i, paragraph := range strings.Split(text, "\n\n") {
		if status, ok := strings.CutPrefix(paragraph, "Exit status: "); ok {
			fmt.Fprintf(b, ".SH EXIT STATUS\n%s\n", roff(status))
			continue
		}
		if i > 0 {
			b.WriteString(".PP\n")
		}
		fmt.Fprintf(b, "%s\n", roff(paragraph))
	}
}

func options(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(name+" "+kind)), roff(usage))
	})
}

func seeAlso(b *bytes.Buffer, verb *cobra.Command) {
	var names []string
	if verb.HasParent() {
		names = append(names, pageName(verb.Parent()))
	}
	for _, v := range verb.Commands() {
		if v.IsAvailableCommand() {
			names = append(names, pageName(v))
		}
	}
	if len(names) == 0 {
		return
	}
	b.WriteString(".SH SEE ALSO\n")
	for i, name := range names {
		mark := ","
		if i == len(names)-1 {
			mark = ""
		}
		fmt.Fprintf(b, ".BR %s (1)%s\n", roff(name), mark)
	}
}

// roff escapes a text: dashes stay dashes, and no line begins a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
