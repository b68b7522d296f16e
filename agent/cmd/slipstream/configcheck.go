package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/agent/config"
	"slipstream/agent/control"
)

// configReport is what is in force.
type configReport struct {
	control.Result
	Files    []string         `json:"files"`
	Settings []config.Setting `json:"settings"`
}

func (c *cli) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Look at this device's configuration",
		Args:  args(cobra.NoArgs, "check"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether a configuration is right, and what is in force",
		Long: `Read a configuration as the agent would, and the drop-in files FILE.d/*.toml after it
in the order of their names; name every mistake with its file and line; else list all
settings, and who has set each. Nothing is changed, and no agent is needed. An agent
that runs reads its configuration at its next start.

Exit status: 0 right, 1 wrong or not there.`,
		Args: args(cobra.MaximumNArgs(1), "at most one file"),
		RunE: func(_ *cobra.Command, given []string) error {
			if len(given) > 0 {
				c.configFile = given[0]
			}
			return c.checkConfig()
		},
	})
	return cmd
}

func (c *cli) checkConfig() error {
	loaded, err := config.Read(c.configFile)
	if errors.Is(err, os.ErrNotExist) {
		return c.noConfig()
	}
	if err != nil {
		return err
	}
	message := c.configFile + " is right"
	if n := len(loaded.Files) - 1; n > 0 {
		message = fmt.Sprintf("%s is right, with %s", c.configFile, count(n, "drop-in file"))
	}
	r := configReport{control.Result{Message: message}, loaded.Files, loaded.Settings()}
	if c.json {
		return c.printJSON(r)
	}
	rows := make([][]string, len(r.Settings))
	for i, s := range r.Settings {
		rows[i] = []string{s.Key, settingWords(s.Value), s.File}
	}
	p := c.printer()
	p.para("", clean(message))
	for i, text := range columns(rows) {
		if r.Settings[i].File == "" {
			p.set(p.dim, "  %s(default)", text)
		} else {
			p.line("  %s", text)
		}
	}
	_, err = io.WriteString(c.out, p.b.String())
	return err
}

// settingWords show a value as the file would have it, and nothing as a dash.
func settingWords(value any) string {
	if list, ok := value.([]string); ok {
		value = strings.Join(list, ", ")
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "-"
		}
		value = v.Elem().Interface()
	case reflect.String, reflect.Slice:
		if v.Len() == 0 {
			return "-"
		}
	}
	return clean(fmt.Sprint(value))
}
