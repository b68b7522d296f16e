package adminpanel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"slipstream/adminpanel/config"
)

// Listeners are where a panel is called.
type Listeners struct {
	People  net.Listener
	Devices net.Listener
	Metrics net.Listener // nil: healthz, readyz and metrics are at the address for people alone
}

// Listen opens the addresses of a configuration, except those that systemd has opened for this
// process: sockets of a .socket unit with FileDescriptorName=people, devices or metrics. They
// stay open while one panel ends and the next one begins, so that who calls then waits, and is
// not refused.
func Listen(cfg config.Config) (at Listeners, err error) {
	given, err := inherited()
	if err != nil {
		return Listeners{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, at.Close())
		}
	}()
	for _, one := range []struct {
		name, addr string
		to         *net.Listener
	}{{"people", cfg.Listen, &at.People}, {"devices", cfg.Devices, &at.Devices}, {"metrics", cfg.Metrics, &at.Metrics}} {
		if l := given[one.name]; l != nil {
			*one.to = l
			if one.name == "people" && exposed(cfg.TLS, l.Addr()) {
				return at, fmt.Errorf("the socket of people, %v, is reachable from elsewhere without TLS: set tls.mode, or tls.proxy if a proxy does it", l.Addr())
			}
			continue
		}
		if one.addr == "" {
			continue
		}
		if *one.to, err = net.Listen("tcp", one.addr); err != nil {
			return at, fmt.Errorf("listen for %s: %w", one.name, err)
		}
	}
	return at, nil
}

// exposed says whether passwords would go over a network in the clear.
func exposed(cfg config.TLS, addr net.Addr) bool {
	at, ok := addr.(*net.TCPAddr)
	return cfg.Mode == config.TLSOff && !cfg.Proxy && ok && !at.IP.IsLoopback()
}

// Close closes them.
func (l Listeners) Close() error {
	var errs []error
	for _, one := range []net.Listener{l.People, l.Devices, l.Metrics} {
		if one == nil {
			continue
		}
		if err := one.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// firstGiven is the descriptor of the first socket that systemd gives (sd_listen_fds).
const firstGiven = 3

// inherited takes over what systemd gives to this process, once.
func inherited() (map[string]net.Listener, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // it is not for processes that this one starts
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	called := strings.Split(names, ":")
	if err != nil || n < 1 || n != len(called) {
		return nil, fmt.Errorf("systemd gives %q sockets by the names %q: each needs a FileDescriptorName", count, names)
	}
	given := map[string]net.Listener{}
	for i, name := range called {
		if given[name] != nil || name != "people" && name != "devices" && name != "metrics" {
			return nil, fmt.Errorf("systemd gives a socket named %q: FileDescriptorName is people, devices or metrics, each once", name)
		}
		f := os.NewFile(uintptr(firstGiven+i), name)
		l, err := net.FileListener(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("take over the socket %s of systemd: %w", name, err)
		}
		given[name] = l
	}
	return given, nil
}

// defaultNames are by what devices reach a panel that listens for them at addr, if
// nobody says: this machine's own names, and the address.
func defaultNames(addr net.Addr) (names []string) {
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		names = append(names, host)
	}
	if at, err := netip.ParseAddrPort(addr.String()); err == nil && !at.Addr().IsUnspecified() && !at.Addr().IsLoopback() {
		names = append(names, at.Addr().String())
	}
	return append(names, "localhost", "127.0.0.1", "::1")
}
