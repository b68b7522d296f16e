package main

import (
	"strings"

	"slipstream/agent/control"
)

const (
	correctIt = "correct the version and install it; this very package again: slipstream install --force FILE"
	tryAgain  = "the version was not to blame; to try it again: slipstream install --force FILE"
)

// steps are what a person does after an update that ended so. A refusal is known by the
// code of package verify or of the agent.
var steps = map[string]string{
	"exit":     "read its last words (slipstream logs has more); " + correctIt,
	"eof":      "see why it closed its streams (slipstream logs); " + correctIt,
	"start":    "see what its start waits for (slipstream logs); " + correctIt,
	"oom":      "see what it kept (slipstream logs), or raise limits.memoryMB in its manifest; " + correctIt,
	"crashing": "see why it ended (slipstream logs has more); " + correctIt,
	"boot":     "see what the new system waits for at its console; " + correctIt,
	"watchdog": "see what keeps it from saying WATCHDOG=1 (slipstream logs); " + correctIt,
	"media":    "let its encoder do what the manifest declares, or declare what it does; " + correctIt,
	"stall": "see what its encoder waited for (slipstream logs); if this machine is merely busy, raise stream.stall_ms in the " +
		"configuration; " + correctIt,
	"deadline": "if an operator has the word: slipstream greenlight in time; else see what its self-test waits for (slipstream logs); " + correctIt,

	"operator": "to try it again: slipstream install --force FILE", "panel": "to try it again: slipstream install --force FILE",
	"power": tryAgain, "agent": tryAgain, "forwarder": tryAgain, "lease": tryAgain, "orders": tryAgain,
	"record":  "see to the disk of the state directory (slipstream doctor), then: slipstream install --force FILE",
	"damaged": "see to the disk of the state directory (slipstream doctor), then stage the package again: it needs no force",

	"cancelled": "to go on where it was: slipstream stage FILE; to free its space: slipstream clear SLOT",

	"reverted":        "correct the version; this very package again: slipstream install --force FILE",
	"stage-failed":    "see to the disk of the state directory (slipstream doctor), then stage it again",
	"unreadable":      "see that the file or address can be read, then stage it again",
	"no-factory":      "keep the factory's package at the place that the configuration names",
	"rollback":        "pack the content again with a higher releaseCounter: a floor is never passed, also not by force",
	"counter-reused":  "pack the content again with a higher releaseCounter",
	"counter-jump":    "pack the content again with a releaseCounter that is nearer; see: slipstream trust",
	"security-epoch":  "pack the content again with the securityEpoch of today: that floor is never passed, also not by force",
	"needs-step":      "install the version in between first",
	"wrong-product":   "take the package of this product; see: slipstream inspect FILE",
	"wrong-hardware":  "take the package for this hardware; see: slipstream inspect FILE",
	"untrusted":       "have it signed by a key that this device trusts; see: slipstream trust",
	"unsigned":        "have it signed by a key that this device trusts; see: slipstream trust",
	"threshold":       "have it signed by as many keys as this device asks for; see: slipstream trust",
	"expired":         "have it signed anew",
	"root-expired":    "bring the vendor's newest root: slipstream trust FILE",
	"no-order":        "get the fleet's order for this device, or install from the fleet's panel",
	"stream-missing":  "add the stream, or name it in the manifest's app.breaks",
	"stream-envelope": "keep to what viewers rely on, or name the stream in the manifest's app.breaks",
	"corrupt":         "fetch the package again: it does not hold what was signed",
	"truncated":       "fetch the package again: its end is missing",
}

// nextAfter is the step that follows a record.
func nextAfter(r control.Record) string {
	step, known := steps[r.Reason]
	switch {
	case r.Outcome == control.OutcomePermanent, r.Outcome == control.OutcomeRehearsed:
		return "nothing to do"
	case known:
		return step
	case strings.HasPrefix(r.Reason, "invariant:"):
		return "see why it did not hold (slipstream logs); " + correctIt
	case strings.HasPrefix(r.Reason, "order-") || r.Reason == "bad-order":
		return "ask the fleet's operator for an order for this device and this package"
	case r.Outcome == control.OutcomeRefused:
		return "slipstream inspect FILE says more about the package"
	}
	return correctIt
}
