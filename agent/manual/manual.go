// Package manual writes manual pages of commands: they say what --help says, in the language of
// man(7), and without a date, so that the same sources make the same page.
package manual

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Write writes one page for each verb of a command into a directory, and returns how many.
func Write(root *cobra.Command, dir string) (n int, err error) {
	root.InitDefaultCompletionCmd()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, fmt.Errorf("write the manual: %w", err)
	}
	err = write(root, dir, &n)
	return n, err
}

func write(verb *cobra.Command, dir string, n *int) error {
	path := filepath.Join(dir, Name(verb)+".1")
	if err := os.WriteFile(path, Page(verb), 0o644); err != nil { //nolint:gosec // everybody reads it
		return fmt.Errorf("write the manual: %w", err)
	}
	*n++
	for _, v := range verb.Commands() {
		if v.IsAvailableCommand() {
			if err := write(v, dir, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// Name is that of a verb's page.
func Name(verb *cobra.Command) string {
	return strings.ReplaceAll(verb.CommandPath(), " ", "-")
}

// Page is a verb's page.
func Page(verb *cobra.Command) []byte {
	var b bytes.Buffer
	name := Name(verb)
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
		names = append(names, Name(verb.Parent()))
	}
	for _, v := range verb.Commands() {
		if v.IsAvailableCommand() {
			names = append(names, Name(v))
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
