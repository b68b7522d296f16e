// Package turn lets browsers watch through the panel where nothing but TCP gets out of
// their network: they speak TURN (RFC 8656) by TCP or TLS, and what they send goes on as
// UDP to the panel's relay of pictures on this machine.
//
//	browser ──TURN in TLS over TCP──▶ here ──UDP──▶ slipstream-gateway, slipstream-forward
//
// What it keeps: it is a way to that relay and to nothing else. A relayed address is a
// socket that is connected to the relay, so that no mistake in what comes before can make
// it send anywhere else, and nothing from elsewhere comes in by it.
//
// What it defends against: strangers (who uses it shows a [Pass], which the panel gives to
// people who may watch, and which is good for minutes; a connection that has begun with one
// may go on), and crowds: connections are counted, all and by address (of IPv6: by network),
// and one that does not ask for a relayed address within seconds is closed. One connection
// has one relayed address. A slow reader loses datagrams, as on any bad line, and one that
// takes nothing for seconds is closed.
//
// # What pion/turn v2 means
//
// It is what goes with the gateway's pion/webrtc v3, and has that line's flaws: of an address
// that is too short stun v0.6.1 panics (GHSA-34rh-wp3j-6cxc), which would end the panel, and
// its reader of TCP counts lengths in 16 bits. So what comes is cut into messages here, and
// each is judged before the library has it: its length, its kind, all of its attributes, each
// address in it. What no browser sends ends the connection.
//
// Each connection has a server of the library of its own, which ends with it. One for all
// keeps relayed addresses for ten minutes after their connections have gone.
//
// What it does not do: UDP to its own port, which the relay itself takes, and relayed
// addresses for devices, which have legs.
//
// Rejected: a program of its own (TLS is the panel's, whose certificates change while it
// runs); permissions for all addresses of this machine (one is enough to reach the relay).
package turn
