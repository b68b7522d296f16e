package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/agent"
	"slipstream/agent/config"
	"slipstream/agent/control"
)

const (
	maxLogLines = 10_000
	followEvery = 200 * time.Millisecond
	logSuffix   = ".log"
)

// logLine is a line that a process has written.
type logLine struct {
	Source string `json:"source"` // a run of an app (a-3), its ingest, or forward, gateway
	Line   string `json:"line"`
}

func (c *cli) logsCommand() *cobra.Command {
	var most int
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [SLOT]",
		Short: "Show what the applications in the slots have written",
		Long: `Show the newest lines that the newest run of each slot's application has written to its
standard output and error. SLOT is a, b, forward, gateway, or a run as it stands before
its lines, such as a-3. No agent is needed: the logs outlive it, but not a reboot.
With --json and --follow there is one JSON value a line.

Exit status: 0, 1 error, 2 nothing was written.`,
		Args:              args(cobra.MaximumNArgs(1), "at most one slot"),
		ValidArgsFunction: c.completeLog,
		RunE: func(cmd *cobra.Command, given []string) error {
			if most < 1 || most > maxLogLines {
				return fmt.Errorf("--lines %d must lie between 1 and %d", most, maxLogLines)
			}
			return c.logs(cmd.Context(), append(given, "")[0], most, follow)
		},
	}
	cmd.Flags().IntVarP(&most, "lines", "n", 50, "at most `N` lines of each")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	return cmd
}

func (c *cli) logs(ctx context.Context, which string, most int, follow bool) error {
	dir, err := c.logDir()
	if err != nil {
		return err
	}
	files, err := logFiles(dir, which)
	if err != nil {
		return err
	}
	if len(files) == 0 && !follow {
		return c.finish(control.Result{Exit: control.ExitNothing, Message: "nothing was written " + where(dir, which)})
	}
	var lines []logLine
	followed := map[string]*tail{}
	for _, file := range files {
		t := &tail{path: file}
		followed[file] = t
		all, err := t.begin(!follow)
		if err != nil {
			return err
		}
		lines = append(lines, all[max(0, len(all)-most):]...)
	}
	if err := c.showLines(lines, follow); err != nil || !follow {
		return err
	}
	return c.follow(ctx, dir, which, followed)
}

func where(dir, which string) string {
	if which == "" {
		return "below " + dir
	}
	return "by " + clean(which) + " below " + dir
}

// logDir is where the agent lets its children write, also if no configuration is there.
func (c *cli) logDir() (string, error) {
	cfg := config.Default()
	if _, err := os.Stat(c.configFile); err == nil || c.configSet {
		if cfg, err = c.config(); err != nil {
			return "", err
		}
	}
	return filepath.Join(cfg.Run, "log"), nil
}

// logFiles are the newest run's of each slot, or of what is named; the oldest first.
func logFiles(dir, which string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, readingLogs(err)
	}
	newest := map[string]fs.FileInfo{}
	for _, e := range entries {
		name, isLog := strings.CutSuffix(e.Name(), logSuffix)
		info, err := e.Info()
		if !isLog || err != nil || !info.Mode().IsRegular() || !wanted(name, which) {
			continue
		}
		if of := family(name); newest[of] == nil || newest[of].ModTime().Before(info.ModTime()) {
			newest[of] = info
		}
	}
	var infos []fs.FileInfo
	for _, info := range newest {
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(x, y fs.FileInfo) int {
		return cmp.Or(x.ModTime().Compare(y.ModTime()), strings.Compare(x.Name(), y.Name()))
	})
	var files []string
	for _, info := range infos {
		files = append(files, filepath.Join(dir, info.Name()))
	}
	return files, nil
}

// family is what the runs of one thing have in common: of ingest-a-3 it is ingest-a.
func family(name string) string {
	if at := strings.LastIndexByte(name, '-'); at > 0 {
		return name[:at]
	}
	return name
}

// wanted says whether a log belongs to what was asked for; without a wish those of
// the slots do.
func wanted(name, which string) bool {
	slot := strings.TrimPrefix(family(name), "ingest-")
	if which == "" {
		return slot == "a" || slot == "b"
	}
	return which == name || which == slot
}

func readingLogs(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("read the logs: %w: run this as the agent's user", err)
	}
	return fmt.Errorf("read the logs: %w", err)
}

func (c *cli) showLines(lines []logLine, stream bool) error {
	switch {
	case !c.json:
		for _, l := range lines {
			if _, err := fmt.Fprintf(c.out, "%s  %s\n", l.Source, l.Line); err != nil {
				return err
			}
		}
		return nil
	case !stream:
		return c.printJSON(lines)
	}
	e := json.NewEncoder(c.out)
	for _, l := range lines {
		if err := e.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// follow shows what is written from now on, also by runs that begin meanwhile.
func (c *cli) follow(ctx context.Context, dir, which string, followed map[string]*tail) error {
	for agent.Wait(ctx, followEvery) {
		files, err := logFiles(dir, which)
		if err != nil {
			return err
		}
		for _, file := range files {
			if followed[file] == nil {
				followed[file] = &tail{path: file}
			}
			lines, err := followed[file].more()
			if err == nil {
				err = c.showLines(lines, true)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cli) completeLog(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 || c.prepare(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"a", "b", "forward", "gateway"}, cobra.ShellCompDirectiveNoFileComp
}

// shownLine is a line of a log as it may be shown.
func shownLine(source, text string) logLine {
	return logLine{Source: source, Line: clean(agent.Redact(strings.TrimRight(text, "\r")))}
}
