package link

import "context"

// Media answers viewers' offers on the device.
type Media interface {
	// WHEP takes an SDP offer for a stream and gives the answer and a name by
	// which the session can be ended.
	WHEP(ctx context.Context, stream string, offer []byte) (answer []byte, session string, err error)
	// EndWHEP ends a session; one that has gone already is fine.
	EndWHEP(session string)
}
