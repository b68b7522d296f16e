package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// Limits of single values.
const (
	MaxName    = 64     // bytes of device, product and hardware
	MaxRunPath = 60     // bytes of run: the sockets below it must fit the kernel's 107
	MaxStallMS = 60_000 // a minute of silence is a stall on any machine
	MaxViewers = 1000   // as many as the forwarder has

	MaxFetchKbps    = 100_000_000 // faster than any line of a camera
	MaxFetchStallS  = 3600
	MaxAttempts     = 1000
	MaxFetchMinutes = 30 * 24 * 60 // a month
)

// Validate reports all problems of c at once, one a line.
func (c Config) Validate() error {
	return errors.Join(
		name("device", c.Device),
		name("product", c.Product),
		name("hardware", c.Hardware),
		absolute("state", c.State),
		c.validateRun(),
		absolute("trust", c.Trust),
		absoluteIfSet("factory", c.Factory),
		absoluteIfSet("counter", c.Counter),
		absoluteIfSet("fleet.root", c.Fleet.Root),
		absolute("bin", c.Bin),
		c.validateCgroup(),
		validateTighten(c.Tighten),
		c.Stream.validate(),
		c.Apps.validate(),
		c.Gateway.validate(),
		c.Fetch.validate(),
		c.System.validate(),
	)
}

// name wants a word that can stand in a path, a URL and a table.
func name(key, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is not set", key)
	case len(value) > MaxName:
		return fmt.Errorf("%s is %d bytes long; at most %d fit", key, len(value), MaxName)
	case strings.ContainsFunc(value, odd):
		return fmt.Errorf("%s = %q may hold letters, digits, dot, dash and underscore only", key, value)
	}
	return nil
}

func odd(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
}

// absolute wants an absolute path: the agent's own directory may be anywhere.
func absolute(key, value string) error {
	if value == "" {
		return fmt.Errorf("%s is not set", key)
	}
	if !filepath.IsAbs(value) {
		return fmt.Errorf("%s = %q must be an absolute path", key, value)
	}
	return nil
}

func absoluteIfSet(key, value string) error {
	if value == "" {
		return nil
	}
	return absolute(key, value)
}

func (c Config) validateRun() error {
	if err := absolute("run", c.Run); err != nil {
		return err
	}
	if len(c.Run) > MaxRunPath {
		return fmt.Errorf("run = %q is %d bytes long; at most %d leave room for the sockets in it", c.Run, len(c.Run), MaxRunPath)
	}
	if filepath.Clean(c.Run) == filepath.Clean(c.State) {
		return fmt.Errorf("run and state are both %q; one is lost at a reboot, the other must not be", c.Run)
	}
	return nil
}

func (c Config) validateCgroup() error {
	if c.Cgroup == "" {
		return nil
	}
	return absolute("cgroup", c.Cgroup)
}

func (s Stream) validate() error {
	if s.StallMS < 1 || s.StallMS > MaxStallMS {
		return fmt.Errorf("stream.stall_ms = %d must lie between 1 and %d", s.StallMS, MaxStallMS)
	}
	return nil
}

func (a Apps) validate() error {
	var problems []error
	for key, paths := range map[string][]string{"apps.devices": a.Devices, "apps.write": a.Write} {
		for _, path := range paths {
			if _, err := filepath.Match(path, ""); err != nil || !filepath.IsAbs(path) {
				problems = append(problems, fmt.Errorf("%s: %q is not an absolute path", key, path))
			}
		}
	}
	if n := a.FallbackMinutes; n != nil && (*n < 0 || *n > MaxFallbackMinutes) {
		problems = append(problems, fmt.Errorf("apps.fallback_minutes = %d must lie between 0, which is never, and %d", *n, MaxFallbackMinutes))
	}
	return errors.Join(problems...)
}

func (g Gateway) validate() error {
	problems := []error{
		address("gateway.http", g.HTTP), address("gateway.rtsp", g.RTSP), address("gateway.udp", g.UDP),
		g.validateViewers(), g.validateTLS(), address("gateway.metrics", g.Metrics), g.validateLimits(),
	}
	if g.HTTP != "" && g.UDP == "" {
		problems = append(problems, errors.New("gateway.udp is not set; WHEP viewers (gateway.http) get their media there"))
	}
	for _, a := range g.Advertise {
		if _, err := netip.ParseAddr(a); err != nil {
			problems = append(problems, fmt.Errorf("gateway.advertise: %q is not an IP address", a))
		}
	}
	for _, o := range g.Origins {
		if u, err := url.Parse(o); o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != o) {
			problems = append(problems, fmt.Errorf("gateway.origins: %q is neither \"*\" nor like https://HOST:PORT", o))
		}
	}
	return errors.Join(problems...)
}

func (g Gateway) validateLimits() error {
	return errors.Join(
		between("gateway.max_viewers", g.MaxViewers, MaxViewers), between("gateway.max_per_address", g.MaxPerAddress, MaxViewers),
	)
}

func (g Gateway) validateViewers() error {
	if g.Public || !g.On() {
		return nil
	}
	if g.Viewers == "" {
		return errors.New("gateway.viewers is not set; without it, and without gateway.public, nobody may watch")
	}
	return absolute("gateway.viewers", g.Viewers)
}

func (g Gateway) validateTLS() error {
	if g.RTSPS == "" {
		return nil
	}
	return errors.Join(address("gateway.rtsps", g.RTSPS), absolute("gateway.tls_cert", g.TLSCert), absolute("gateway.tls_key", g.TLSKey))
}

// address wants HOST:PORT with an IP address, "localhost" or nothing as the
// host; empty as a whole means off.
func address(key, value string) error {
	if value == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return fmt.Errorf("%s = %q is not HOST:PORT", key, value)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%s = %q: the port must be a number up to 65535", key, value)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return fmt.Errorf("%s = %q: the host must be an IP address, localhost or empty", key, value)
	}
	return nil
}

func (f Fetch) validate() error {
	problems := []error{
		between("fetch.max_kbps", f.MaxKbps, MaxFetchKbps), between("fetch.min_kbps", f.MinKbps, MaxFetchKbps),
		between("fetch.stall_s", f.StallS, MaxFetchStallS), between("fetch.attempts", f.Attempts, MaxAttempts),
		between("fetch.total_minutes", f.TotalMinutes, MaxFetchMinutes),
	}
	if f.MaxKbps > 0 && f.MinKbps > f.MaxKbps {
		problems = append(problems, fmt.Errorf("fetch.min_kbps = %d is more than fetch.max_kbps = %d lets through", f.MinKbps, f.MaxKbps))
	}
	return errors.Join(problems...)
}

// between wants a number from 0, which is the default, to a limit.
func between(key string, n, limit int) error {
	if n < 0 || n > limit {
		return fmt.Errorf("%s = %d must lie between 0 and %d", key, n, limit)
	}
	return nil
}
