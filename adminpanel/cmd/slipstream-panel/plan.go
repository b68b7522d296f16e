package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/small"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

// planFlags make a plan. Their defaults are those of the panel's page.
type planFlags struct {
	file, release, name    string
	waves, windows         []string
	soak                   time.Duration
	unavailable, perSite   int
	success, fail          float64
	failCount, retries     int
	trial                  time.Duration
	onFailure              string
	together, dynamic      bool
	greenlight, force      bool
	offline                time.Duration
	notBefore              string
	start, watch, pauseOne bool
	timeout                time.Duration
}

const planHelp = `The devices are those that a SELECTOR meets; "" is all of them. The waves are counts or
percentages, such as  --waves 1,10%,50% ; the rest comes last. A selector in place of a
number takes those devices first:  --waves tag:lab,10%

--plan reads a plan as the API has it, as JSON, from a file or ("-") from the input; the
other flags are not for it then.`

func (f *planFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.file, "plan", "", "`FILE` with the whole plan as JSON; -: the input")
	flags.StringVar(&f.release, "release", "", "`RELEASE` (id or version) or file that is brought to them")
	flags.StringVar(&f.name, "name", "", "what people call the rollout")
	flags.StringSliceVar(&f.waves, "waves", []string{"1", "10%"}, "sizes of the waves before the last, which takes the rest")
	flags.DurationVar(&f.soak, "soak", time.Hour, "how long each wave is watched before the next opens")
	flags.BoolVar(&f.pauseOne, "pause", false, "wait for a person after the first wave")
	flags.IntVar(&f.unavailable, "unavailable", 50, "so many devices are activated or on trial at a time")
	flags.IntVar(&f.perSite, "per-site", 1, "of one site; 0: no such limit")
	flags.Float64Var(&f.success, "success", 95, "percentage of a wave that must be done for the next to open")
	flags.Float64Var(&f.fail, "fail", 2, "percentage of failures above which it stops")
	flags.IntVar(&f.failCount, "fail-count", 0, "number of failures at which it stops; 0: no such limit")
	flags.IntVar(&f.retries, "retries", 0, "of one device that failed")
	flags.DurationVar(&f.trial, "trial", 5*time.Minute, "silence of a trial past this is failure")
	flags.StringVar(&f.onFailure, "on-failure", "halt", "what a crossed limit does: pause, halt or revert")
	flags.BoolVar(&f.together, "together", false, "stage everything first, and activate all in one moment")
	flags.BoolVar(&f.dynamic, "dynamic", false, "take in devices that come to meet the selector later")
	flags.BoolVar(&f.greenlight, "greenlight", false, "confirm devices whose invariants hold, where a package leaves that to an operator")
	flags.BoolVar(&f.force, "force", false, "also devices that have gone back from this release before")
	flags.DurationVar(&f.offline, "offline", 0, "skip devices that are away so long; 0: wait for them")
	flags.StringArrayVar(&f.windows, "window", nil, "when devices may be activated in their own time, such as \"mon-fri 01:00-05:00\"; may be repeated")
	flags.StringVar(&f.notBefore, "not-before", "", "`TIME` (RFC 3339) before which it does not start")
}

// plan is what flags and arguments say.
func (c *cli) plan(ctx context.Context, panel *client.Client, f *planFlags, given []string) (p view.Plan, err error) {
	if f.file != "" {
		return c.planFile(f.file)
	}
	if len(given) != 1 || f.release == "" {
		return p, errors.New("a rollout needs a SELECTOR (\"\" is all devices) and --release, or --plan FILE")
	}
	r, err := c.release(ctx, panel, f.release)
	if err != nil {
		return p, err
	}
	p = view.Plan{
		Name: f.name, Release: r.ID, Selector: given[0], Dynamic: f.dynamic, MaxUnavailable: f.unavailable, MaxPerSite: f.perSite,
		SuccessPercent: f.success, FailPercent: f.fail, FailCount: f.failCount, Retries: f.retries, TrialDeadlineMS: f.trial.Milliseconds(),
		OnFailure: f.onFailure, Activation: "waves", Force: f.force, OfflineDeadlineMS: f.offline.Milliseconds(),
		Greenlight: view.Greenlight{Auto: f.greenlight},
	}
	if f.together {
		p.Activation = "together"
	}
	if p.Waves, err = f.wavesOf(); err != nil {
		return p, err
	}
	for _, text := range f.windows {
		w, err := windowOf(text)
		if err != nil {
			return p, err
		}
		p.Windows = append(p.Windows, w)
	}
	if f.notBefore != "" {
		if p.NotBefore, err = time.Parse(time.RFC3339, f.notBefore); err != nil {
			return p, fmt.Errorf("--not-before %q is no time such as 2026-11-24T01:00:00Z", f.notBefore)
		}
	}
	return p, nil
}

func (c *cli) planFile(name string) (p view.Plan, err error) {
	var text []byte
	if name == "-" {
		text, err = io.ReadAll(io.LimitReader(c.in, maxLogin))
	} else {
		text, err = small.File(name, maxLogin)
	}
	if err != nil {
		return p, fmt.Errorf("read the plan: %w", err)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("the plan is not understood: %w", err)
	}
	return p, nil
}

func (f *planFlags) wavesOf() ([]view.Wave, error) {
	var waves []view.Wave
	for i, text := range f.waves {
		w := view.Wave{SoakMS: f.soak.Milliseconds(), Pause: f.pauseOne && i == 0}
		number, isPercent := strings.CutSuffix(text, "%")
		size, err := strconv.ParseFloat(number, 64)
		switch {
		case err == nil && isPercent && size > 0 && size < 100:
			w.Percent = size
		case err == nil && !isPercent && size >= 1 && size == float64(int(size)):
			w.Count = int(size)
		case err != nil && strings.Contains(text, ":") && !isPercent:
			w.Selector, w.Name = text, text
		default:
			return nil, fmt.Errorf("--waves: %q is neither a count, nor a percentage such as 10%%, nor a selector such as tag:lab", text)
		}
		waves = append(waves, w)
	}
	return append(waves, view.Wave{Name: "rest"}), nil
}

var weekdays = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// windowOf reads "mon-fri 01:00-05:00", "sat,sun 22:00-06:00" or "01:00-05:00".
func windowOf(text string) (w view.Window, err error) {
	bad := fmt.Errorf("--window %q is not like \"mon-fri 01:00-05:00\"", text)
	days, span, ok := strings.Cut(text, " ")
	if !ok {
		days, span = "mon-sun", text
	}
	if w.From, w.To, ok = strings.Cut(strings.TrimSpace(span), "-"); !ok {
		return w, bad
	}
	for part := range strings.SplitSeq(days, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		i, j := slices.Index(weekdays, from), slices.Index(weekdays, to)
		if i < 0 || j < i {
			return w, bad
		}
		w.Days = append(w.Days, weekdays[i:j+1]...)
	}
	return w, nil
}

func (c *cli) rolloutPreview() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use: "preview SELECTOR --release RELEASE", Short: "Tell what a rollout would do now", Long: "Tell what a rollout would do if it were started now. Nothing is done.\n\n" + planHelp,
		Args: args(cobra.MaximumNArgs(1), "one SELECTOR"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			plan, err := c.plan(ctx, panel, &f, given)
			if err != nil {
				return err
			}
			p, err := panel.Preview(ctx, plan)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(p)
			}
			return c.showPreview(p)
		}),
	}
	f.add(cmd)
	return cmd
}

func (c *cli) showPreview(p view.Preview) error {
	fmt.Fprintf(c.out, "%s would be brought to %s", words.Clean(p.Version), words.Count(p.Devices, "device"))
	if p.Has > 0 {
		fmt.Fprintf(c.out, ", %d of which run it already", p.Has)
	}
	if p.Through > 0 {
		fmt.Fprintf(c.out, "; %d have to pass other versions first", p.Through)
	}
	fmt.Fprintln(c.out)
	rows := make([][]string, len(p.Waves))
	for i, w := range p.Waves {
		rows[i] = []string{strings.TrimSpace(fmt.Sprintf("%d %s", i+1, w.Name)), fmt.Sprint(w.Devices), strings.Join(w.Sample, ", ")}
	}
	if err := c.table([]string{"WAVE", "DEVICES", "SUCH AS"}, rows); err != nil {
		return err
	}
	for _, r := range p.Refused {
		fmt.Fprintf(c.out, "not %s: %s\n", words.Clean(r.Device), words.Clean(r.Why))
	}
	if more := p.RefusedTotal - len(p.Refused); more > 0 {
		fmt.Fprintf(c.out, "and %d more that cannot take part\n", more)
	}
	return nil
}

func (c *cli) rolloutCreate() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use: "create SELECTOR --release RELEASE", Short: "Make a rollout; it does not begin before it is started",
		Long:    "Make a rollout, and with --start begin it.\n\n" + planHelp + "\n\n" + exitHelp,
		Example: "  slipstream-panel fleet rollout create site:north --release 2.5.0 --waves 1,10% --soak 30m --start --wait",
		Args:    args(cobra.MaximumNArgs(1), "one SELECTOR"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			plan, err := c.plan(ctx, panel, &f, given)
			if err != nil {
				return err
			}
			r, err := panel.CreateRollout(ctx, plan)
			if err != nil {
				return err
			}
			return c.created(ctx, panel, r, &f)
		}),
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.start, "start", false, "begin at once")
	watchFlags(cmd, &f.watch, &f.timeout)
	return cmd
}

func (c *cli) created(ctx context.Context, panel *client.Client, r view.Rollout, f *planFlags) (err error) {
	if f.start && r.State == view.RolloutApproved {
		if r, err = panel.Verb(ctx, r.ID, client.Start, view.RolloutVerb{}, r.Rev); err != nil {
			return fmt.Errorf("rollout %s is made and not started: %w", r.ID, err)
		}
	}
	if f.watch && f.start {
		return c.watch(ctx, panel, r.ID, f.timeout)
	}
	code := 0
	if f.start && r.State == view.RolloutDraft {
		code = exitWaits
	}
	if c.json {
		if err := c.printJSON(r); err != nil || code == 0 {
			return err
		}
		return exitCode(code)
	}
	fmt.Fprintf(c.out, "rollout %s to %s is %s\n", words.Clean(r.ID), words.Clean(r.Version), r.State)
	switch r.State {
	case view.RolloutDraft:
		c.next("somebody else: slipstream-panel fleet rollout approve %s", r.ID)
	case view.RolloutApproved:
		c.next("slipstream-panel fleet rollout start %s --wait", r.ID)
	default:
		c.next("slipstream-panel fleet rollout watch %s", r.ID)
	}
	if code != 0 {
		return exitCode(code)
	}
	return nil
}
