package adminpanel

import (
	"os"
	"runtime/debug"
)

// thrift is half of what Go lets garbage grow to by itself. What a panel holds is links that
// wait, and to look through them twice as often costs a few percent of one processor.
const thrift = 50

// BeThrifty has this process collect its garbage sooner, unless GOGC says when.
func BeThrifty() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(thrift)
	}
}
