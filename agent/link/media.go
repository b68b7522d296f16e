package link

import "context"

// Media answers viewers' offers on the device.
type Media interface {
	// WHEP takes an SDP offer for a stream and gives the answer, a name by which the
	// session can be ended, and the entity tag of its ICE session.
	WHEP(ctx context.Context, stream string, offer []byte) (answer []byte, session, tag string, err error)
	// TellWHEP takes what a viewer says of a session's ICE and gives a status of HTTP,
	// with the entity tag and the fragment of another ICE session, or why it is refused.
	TellWHEP(ctx context.Context, session, match string, fragment []byte) (status int, tag string, body []byte, err error)
	// EndWHEP ends a session; one that has gone already is fine.
	EndWHEP(session string)
}
