package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/agent/control"
)

// namedSlot is a slot of any class under the name by which commands know it.
type namedSlot struct {
	Name      string          `json:"name"` // "a", "b", "system-a", "runtime-b" and so on
	State     string          `json:"state,omitempty"`
	Version   string          `json:"version,omitempty"`
	Running   bool            `json:"running,omitempty"`
	TriesLeft *int            `json:"triesLeft,omitempty"`
	Stored    *control.Stored `json:"stored,omitempty"`
}

func (c *cli) slotsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "slots [SLOT]",
		Short: "Show what each slot holds, and what it cost to write",
		Long: `Show what storage holds of each slot: the version with its digest and image, when it
was written and where it came from, when all of it was read again, how it is mounted,
how many bytes that cost, and how many tries a boot loader has left for it. SLOT is a, b,
system-a, system-b, runtime-a or runtime-b; without it all of them are shown.

Exit status: 0, 1 if the agent cannot be asked or there is no such slot.`,
		Args:              args(cobra.MaximumNArgs(1), "one slot at most"),
		ValidArgsFunction: c.completeSlot,
		RunE: func(cmd *cobra.Command, given []string) error {
			agent, status, err := c.agent(cmd.Context())
			if err != nil {
				return err
			}
			defer agent.Close()
			list := allSlots(status)
			if len(given) == 1 {
				if list, err = only(list, given[0]); err != nil {
					return err
				}
			}
			return c.showSlots(list, status.Time)
		},
	}
}

// allSlots are those of all classes that the device has.
func allSlots(s control.Status) []namedSlot {
	list := []namedSlot{}
	for _, slot := range s.Slots {
		running := slot.App != "" && slot.App != "stopped"
		list = append(list, namedSlot{Name: slot.Name, State: slot.State, Version: slot.Version, Running: running, Stored: slot.Stored})
	}
	for _, class := range []struct {
		name  string
		slots []control.System
	}{{"system-", s.Systems}, {"runtime-", s.Runtimes}} {
		for _, slot := range class.slots {
			list = append(list, namedSlot{Name: class.name + slot.Name, State: slot.State, Version: slot.Version, Running: slot.Running, TriesLeft: slot.TriesLeft, Stored: slot.Stored})
		}
	}
	return list
}

func only(list []namedSlot, name string) ([]namedSlot, error) {
	i := slices.IndexFunc(list, func(s namedSlot) bool { return s.Name == name })
	if i < 0 {
		names := make([]string, len(list))
		for i, s := range list {
			names[i] = clean(s.Name)
		}
		return nil, fmt.Errorf("this device has no slot %q: it has %s", name, strings.Join(names, ", "))
	}
	return list[i : i+1], nil
}

func (c *cli) showSlots(list []namedSlot, now time.Time) error {
	if c.json {
		return c.printJSON(list)
	}
	p := c.printer()
	for i, slot := range list {
		if i > 0 {
			p.gap()
		}
		p.slot(slot, now)
	}
	_, err := io.WriteString(c.out, p.b.String())
	return err
}

func (p *printer) slot(s namedSlot, now time.Time) {
	st := s.Stored
	if st == nil {
		st = &control.Stored{}
	}
	words := []string{clean(s.Name), cmp.Or(clean(st.Version), clean(s.Version), "-"), stateWords(s.State, st.State)}
	if s.Running {
		words = append(words, "running")
	}
	p.set(p.bold, "%s", strings.Join(words, "  "))
	if st.State == "broken" {
		p.fact("damaged", "what it holds is not what was written: stage it again")
	}
	if st.Digest != "" {
		p.fact("digest", clean(st.Digest))
	}
	if st.Kind != "" {
		p.fact("image", clean(st.Kind)+", "+size(st.Size))
	}
	if !st.StagedAt.IsZero() {
		p.fact("written", ago(st.StagedAt, now)+wherefrom(st.By))
	}
	if st.Cost != nil {
		p.fact("cost", costWords(*st.Cost))
	}
	if !st.VerifiedAt.IsZero() {
		p.fact("verified", ago(st.VerifiedAt, now))
	}
	if st.Mount != "" {
		p.fact("mounted", clean(st.Mount))
	}
	if s.TriesLeft != nil {
		p.fact("tries", fmt.Sprintf("%d left for the boot loader", *s.TriesLeft))
	}
}

// stateWords prefers what the agent makes of a slot to what the disk says of it.
func stateWords(state, stored string) string {
	return cmp.Or(clean(state), clean(stored), "not in use")
}

// ago tells a time by the device's clock, and how long ago that is by the same.
func ago(at, now time.Time) string {
	text := at.UTC().Format("2006-01-02 15:04:05") + " UTC"
	if d := now.Sub(at); d >= 0 {
		text += ", " + span(d) + " ago"
	}
	return text
}

func wherefrom(by string) string {
	if by == "" {
		return ""
	}
	return ", from " + clean(by)
}

// costWords are bytes by where they came from.
func costWords(c control.Staged) string {
	parts := []string{size(c.Written) + " written"}
	for _, origin := range []struct {
		bytes int64
		words string
	}{{c.Kept, "were in the slot already"}, {c.Copied, "copied from the slot in use"}, {c.Fetched, "from the package"}} {
		if origin.bytes > 0 {
			parts = append(parts, size(origin.bytes)+" "+origin.words)
		}
	}
	return strings.Join(parts, "; ")
}

func (c *cli) completeSlot(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 || c.prepare(cmd) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	agent, status, err := c.agent(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer agent.Close()
	var names []string
	for _, s := range allSlots(status) {
		names = append(names, s.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
