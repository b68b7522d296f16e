// Command slipstream is the agent of a device and the tool of the person in
// front of it.
//
// "slipstream agent" runs the agent; every other verb asks a running one over
// its socket, but for those that must work without one: "inspect", "trust", "logs",
// "doctor", "config check" and "viewer". It keeps one promise to scripts: the exit
// code says what became of the request, whatever was printed (0 done, 1 error, 2
// nothing to do, 3 refused and nothing changed, 4 reboot needed, 5 reverted), and
// --json prints exactly one JSON value; what goes on until it is interrupted ("watch",
// "logs --follow") prints one a line.
//
// Rules of what it prints: results go to stdout; progress and the one sentence
// of an error go to stderr; a line is rewritten on a terminal only; text that
// came from an application or a package is stripped of control characters.
//
// Rejected: prompts (a technician's script must never hang; "reset" alone asks, and a
// terminal only), colours for meaning (terminals on serial lines), a verb that both
// switches and commits, a library for the live view (eleven modules and 1.2 MB to draw
// one page a second; and it asks questions that a serial console does not answer).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"slipstream/agent/supervise"
)

func main() {
	supervise.Launch() // returns, unless this is to become an app
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
