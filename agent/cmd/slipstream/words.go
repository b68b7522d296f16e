package main

import (
	"fmt"
	"strings"

	"slipstream/agent/control"
	"slipstream/agent/words"
)

// These words are the panel's too.
var (
	clean     = words.Clean
	fit       = words.Fit
	wrap      = words.Wrap
	pad       = words.Pad
	span      = words.Span
	countdown = words.Countdown
	size      = words.Size
	count     = words.Count
	columns   = words.Columns
)

// reasons are the causes of a revert in words, for records that carry none.
var reasons = map[string]string{
	"exit":     "its application ended",
	"eof":      "it closed its streams",
	"stall":    "a stream stood still",
	"watchdog": "its application stopped answering the watchdog",
	"deadline": "nobody greenlit it in time",
	"operator": "an operator asked for it",
	"power":    "the device restarted during the trial",

	"oom":       "its application came to its limit of memory",
	"crashing":  "it kept ending",
	"boot":      "the new system could not be started",
	"start":     "it could not be started, or was not on viewers' screens in time",
	"lease":     "the agent was not heard of again",
	"media":     "a stream was not what its manifest declares",
	"agent":     "the agent was gone together with it",
	"forwarder": "the forwarder was started anew",
	"record":    "the disk did not take that it is permanent",
	"orders":    "the agent gave the trial up",
	"rehearsal": "it was a rehearsal",
	"damaged":   "its slot no longer held what was staged",
	"cancelled": "an operator cancelled it",
}

// because gives a record's cause: the agent's sentence, else our words for the
// reason, else the reason itself.
func because(reason, detail string) string {
	if detail != "" {
		return clean(detail)
	}
	if words, ok := reasons[reason]; ok {
		return words
	}
	if name, ok := strings.CutPrefix(reason, "invariant:"); ok {
		return "the invariant " + clean(name) + " did not hold"
	}
	return clean(reason)
}

// cost says where a staged version's bytes came from, and what they cost the
// storage.
func cost(s control.Staged) string {
	return fmt.Sprintf("%s from the package, %s from the running version, %s were there; %s written",
		size(s.Fetched), size(s.Copied), size(s.Kept), size(s.Written))
}
