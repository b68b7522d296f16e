package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

// explanation is why an update ended as it did. Its Record has all the evidence.
type explanation struct {
	control.Result
	Why    string            `json:"why"`              // one plain sentence
	Failed []control.Verdict `json:"failed,omitempty"` // required invariants that did not hold
	Next   string            `json:"next"`             // what a person does now
}

func (c *cli) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [TRIAL]",
		Short: "Say why the last update ended as it did, with the evidence",
		Long: `Say why the last update was reverted or refused, or became permanent: the cause, what
was seen and when, how the application ended, its last words, every invariant that did
not hold with its limit and its values over time, and what to do next. TRIAL is one of
the history, by its name or by the version that was tried.

Exit status: 0, 1 error or no such trial, 2 no update yet.`,
		Args:              args(cobra.MaximumNArgs(1), "at most one trial"),
		ValidArgsFunction: c.completeTrial,
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.explain(cmd.Context(), append(given, "")[0])
		},
	}
}

func (c *cli) explain(ctx context.Context, trial string) error {
	agent, status, err := c.agent(ctx)
	if err != nil {
		return err
	}
	defer agent.Close()
	r, err := recordOf(ctx, agent, trial)
	switch {
	case err != nil:
		return err
	case r == nil && trial != "":
		return fmt.Errorf("there is no trial %s in the history; see: slipstream history", trial)
	case r == nil:
		return c.finish(control.Result{Exit: control.ExitNothing, Message: "no update yet"})
	}
	e := explanation{
		Result: control.Result{Message: verdict(*r), Record: r}, Why: why(*r), Failed: failed(*r), Next: nextAfter(*r),
	}
	if c.json {
		return c.printJSON(e)
	}
	p := c.printer()
	p.explain(e, status.Time)
	_, err = io.WriteString(c.out, p.b.String())
	return err
}

// recordOf finds a trial by its name, or the newest one of a version; "" is the newest
// of all. It is nil if there is none.
func recordOf(ctx context.Context, agent *control.Client, trial string) (*control.Record, error) {
	most := control.MaxHistory
	if trial == "" {
		most = 1
	}
	records, err := agent.History(ctx, most)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if trial == "" || r.Trial == trial || r.To == trial {
			return &r, nil
		}
	}
	return nil, nil
}

// terse are the reasons whose sentences in a record say what was seen, and not what it
// means.
var terse = []string{"exit", "oom", "stall", "watchdog", "deadline", "record", "media", "forwarder"}

// why is the cause in one sentence: what it means, and what was seen.
func why(r control.Record) string {
	words := ""
	if slices.Contains(terse, r.Reason) {
		words = reasons[r.Reason]
	}
	if name, ok := strings.CutPrefix(r.Reason, "invariant:"); ok {
		words = "the invariant " + clean(name) + " did not hold"
	}
	switch {
	case r.Outcome == control.OutcomeRehearsed:
		return "it was a rehearsal, and everything that was asked of it held"
	case r.Outcome == control.OutcomePermanent && r.Return == "crashing":
		return "it was permanent before, and has come back by itself, because the version after it kept ending"
	case r.Outcome == control.OutcomePermanent && r.Return != "":
		return "it was permanent before, an operator wanted it back, and everything that was asked of it held to the end"
	case r.Outcome == control.OutcomePermanent:
		return "it got its greenlight, and everything that was asked of it held to the end"
	case words == "" || r.Detail == "" || strings.HasPrefix(r.Detail, words):
		return because(r.Reason, r.Detail)
	}
	return words + ": " + clean(r.Detail)
}

// failed are the invariants that could have ended the trial.
func failed(r control.Record) (out []control.Verdict) {
	if r.Proof == nil {
		return nil
	}
	for _, v := range r.Proof.Verdicts {
		if v.Required && v.Judged && !v.Holds {
			out = append(out, v)
		}
	}
	return out
}

func (p *printer) explain(e explanation, now time.Time) {
	r := *e.Record
	p.set(p.bold, "%s", e.Message)
	p.fact("why", e.Why)
	p.fact("when", whenWords(r, now))
	if m := r.Proof; m != nil {
		if text := detected(r, *m); text != "" {
			p.fact("seen", text)
		}
		p.switches("to "+to(r), m.Switch)
		p.switches("back to "+from(r), m.Revert)
	}
	for _, v := range e.Failed {
		p.failure(v, e.Why)
	}
	if len(r.Evidence) > 0 {
		p.fact("ended", clean(r.Evidence[0]))
		p.words(r.Evidence[1:])
	}
	p.fact("next", e.Next)
}

// words are an app's last ones.
func (p *printer) words(lines []string) {
	for i, line := range lines {
		name := ""
		if i == 0 {
			name = "said"
		}
		p.fact(name, clean(line))
	}
}

// whenWords tell the end, and how far the trial had come.
func whenWords(r control.Record, now time.Time) string {
	text := fmt.Sprintf("%s, %s ago", r.Time.Local().Format(stamp), span(now.Sub(r.Time)))
	switch {
	case r.Trial == "":
		return text
	case r.TookOver.IsZero() && r.Began.IsZero():
		return text
	case r.TookOver.IsZero():
		return fmt.Sprintf("%s, %s after its start; viewers never saw it", text, span(r.Time.Sub(r.Began)))
	}
	return fmt.Sprintf("%s, %s after viewers first saw it", text, span(r.Time.Sub(r.TookOver)))
}

// failure shows an invariant that did not hold, and its values over the trial.
func (p *printer) failure(v control.Verdict, said string) {
	text := strings.TrimPrefix(v.Stream+"."+v.Invariant, ".") + ": " + v.Measure + " was " + plain(v.Value)
	if words := baseline(v); words != "" {
		text += ", " + words
	}
	if words := bound(v); words != "" {
		text += "; allowed is " + words
	}
	if v.Detail != "" && !strings.Contains(said, clean(v.Detail)) {
		text += " (" + v.Detail + ")"
	}
	p.fact("broken", clean(text))
	for _, line := range p.course(v) {
		p.line("            %s", line)
	}
}

func (c *cli) completeTrial(cmd *cobra.Command, given []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(given) > 0 || c.prepare(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	agent, _, err := c.agent(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer agent.Close()
	records, _ := agent.History(cmd.Context(), completed)
	for _, r := range records {
		if r.Trial != "" {
			names = append(names, cobra.CompletionWithDesc(r.Trial, clean(cmp.Or(r.To, r.Outcome))))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completed is how many trials a shell is offered.
const completed = 20
