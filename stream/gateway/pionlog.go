package gateway

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLog passes on what WebRTC's libraries warn of. One stranger's packet is
// enough for a warning there, so it is for developers; our own messages tell an
// operator when a viewer comes and goes.
type pionLog struct{ log *slog.Logger }

var _ logging.LoggerFactory = pionLog{}

// NewLogger implements [logging.LoggerFactory].
func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{p.log.With("library", scope)}
}

func (p pionLog) print(text string) { p.log.Debug("webrtc", "says", text) }

func (p pionLog) printf(format string, args ...any) {
	if p.log.Enabled(context.Background(), slog.LevelDebug) {
		p.print(fmt.Sprintf(format, args...))
	}
}

func (pionLog) Trace(string)                        {}
func (pionLog) Tracef(string, ...any)               {}
func (pionLog) Debug(string)                        {}
func (pionLog) Debugf(string, ...any)               {}
func (pionLog) Info(string)                         {}
func (pionLog) Infof(string, ...any)                {}
func (p pionLog) Warn(text string)                  { p.print(text) }
func (p pionLog) Warnf(format string, args ...any)  { p.printf(format, args...) }
func (p pionLog) Error(text string)                 { p.print(text) }
func (p pionLog) Errorf(format string, args ...any) { p.printf(format, args...) }
