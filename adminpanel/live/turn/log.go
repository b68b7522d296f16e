package turn

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// quiet passes on what the library complains of. A stranger's message is enough for a
// complaint there, so it is for developers.
type quiet struct{ log *slog.Logger }

var _ logging.LoggerFactory = quiet{}

// NewLogger implements [logging.LoggerFactory].
func (q quiet) NewLogger(string) logging.LeveledLogger { return q }

func (q quiet) print(text string) { q.log.Debug("turn", "says", text) }

func (q quiet) printf(format string, args ...any) {
	if q.log.Enabled(context.Background(), slog.LevelDebug) {
		q.print(fmt.Sprintf(format, args...))
	}
}

func (quiet) Trace(string)                        {}
func (quiet) Tracef(string, ...any)               {}
func (quiet) Debug(string)                        {}
func (quiet) Debugf(string, ...any)               {}
func (quiet) Info(string)                         {}
func (quiet) Infof(string, ...any)                {}
func (q quiet) Warn(text string)                  { q.print(text) }
func (q quiet) Warnf(format string, args ...any)  { q.printf(format, args...) }
func (q quiet) Error(text string)                 { q.print(text) }
func (q quiet) Errorf(format string, args ...any) { q.printf(format, args...) }
