package live

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"slipstream/adminpanel/live/turn"
)

// Config is what a [Live] needs.
type Config struct {
	Asker Asker
	Bin   string // directory of slipstream-forward and slipstream-gateway
	Media string // UDP address at which browsers reach the relay, such as ":8190"
	// Legs is the UDP address at which legs come, on the host by whose name devices know
	// the panel; "": all come on their links.
	Legs      string
	Advertise []netip.Addr // told to browsers in place of this machine's own
	// TURN is the TCP address at which browsers reach the relay that cannot by UDP, by TLS
	// if there is a configuration of it; "": they cannot. TURNAt is told to them in place of
	// its port on the host by whose name they know the panel, if it is not "".
	TURN, TURNAt string
	TLS          *tls.Config
	// Linger is for how long a leg outlives its last viewer; 0: 40 s. Who joins needs some.
	Linger time.Duration
	Log    *slog.Logger
}

// startTURN returns nil without an address for it.
func startTURN(cfg Config) (*turn.Server, error) {
	if cfg.TURN == "" {
		return nil, nil
	}
	media, err := net.ResolveUDPAddr("udp", cfg.Media)
	if err == nil && media.Port == 0 {
		err = errors.New("TURN has to know the port of media; name one")
	}
	if err != nil {
		return nil, fmt.Errorf("an address for the relay: %w", err)
	}
	relay := func() (target, peer netip.AddrPort) { return place(media.AddrPort(), cfg.Advertise) }
	return turn.Start(turn.Config{Listen: cfg.TURN, TLS: cfg.TLS, Relay: relay, Log: cfg.Log})
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// place is where the relay is on this machine, and one of the addresses by which browsers
// know it. It is of IPv4: browsers ask for no other kind of relayed address.
func place(media netip.AddrPort, advertised []netip.Addr) (target, peer netip.AddrPort) {
	known := append(slices.Clip(advertised), media.Addr())
	at := media.Addr().Unmap()
	if !at.IsValid() || at.IsUnspecified() {
		at, known = loopback, append(known, own()...)
	}
	for _, ip := range known {
		if ip = ip.Unmap(); ip.Is4() && !ip.IsUnspecified() {
			return netip.AddrPortFrom(at, media.Port()), netip.AddrPortFrom(ip, media.Port())
		}
	}
	return netip.AddrPortFrom(at, media.Port()), netip.AddrPortFrom(loopback, media.Port())
}

// own are this machine's addresses, those last that nobody else can reach.
func own() (all []netip.Addr) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			all = append(all, p.Addr())
		}
	}
	return append(all, loopback)
}

// ICEServer is a server that browsers use on their way to the relay.
type ICEServer struct{ URL, Username, Password string }

// ICEServer gives what a browser needs that knows the panel by the name of a host, for
// somebody who may watch; false: there is none, or without a host none whose place the
// configuration says.
func (l *Live) ICEServer(host string) (ICEServer, bool) {
	if l.turn == nil || host == "" && l.cfg.TURNAt == "" {
		return ICEServer{}, false
	}
	at := l.cfg.TURNAt
	if at == "" {
		at = net.JoinHostPort(host, strconv.Itoa(l.turn.Port()))
	}
	scheme := "turn"
	if l.turn.Secure() {
		scheme = "turns"
	}
	pass := l.turn.Pass()
	return ICEServer{scheme + ":" + at + "?transport=tcp", pass.Username, pass.Password}, true
}

// Counts are the figures of a relay.
type Counts struct {
	Lines, MaxLines     int // streams that come here
	Viewers, MaxViewers int
	TURN                turn.Counts
}

// Counts are its figures of now.
func (l *Live) Counts() Counts {
	l.mu.Lock()
	c := Counts{Lines: len(l.lines), MaxLines: maxLines, MaxViewers: maxViewers}
	l.mu.Unlock()
	c.Viewers = l.relay.all()
	if l.turn != nil {
		c.TURN = l.turn.Counts()
	}
	return c
}
