package adminpanel

import (
	"os"
	"runtime/debug"
)

// thrift is a fifth of what Go lets garbage grow to by itself. What a panel holds is links that
// wait, and to look through them five times as often costs a few percent of one processor.
const thrift = 20

// BeThrifty has this process collect its garbage sooner, unless GOGC says when.
func BeThrifty() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(thrift)
	}
}
