package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Config is the whole configuration of a panel.
type Config struct {
	Data    string   `toml:"data"`    // directory of all that the panel keeps
	Panel   string   `toml:"panel"`   // its name among panels on one store
	Listen  string   `toml:"listen"`  // address for people
	Devices string   `toml:"devices"` // address at which devices call, always by TLS
	Metrics string   `toml:"metrics"` // address of healthz, readyz and metrics alone; "": they are at Listen
	URL     string   `toml:"url"`     // by which people reach it, for links and sign-in
	Names   []string `toml:"names"`   // by which devices reach it; none: this machine's
	Trust   string   `toml:"trust"`   // the vendor's root or keys: packages of others are refused; "": devices alone judge
	Fleet   string   `toml:"fleet"`   // the fleet's root, which devices get when they enrol; or a directory of all its roots
	Orders  []string `toml:"orders"`  // files of the keys that sign the fleet's orders

	TLS   TLS   `toml:"tls"`
	Store Store `toml:"store"`
	OIDC  OIDC  `toml:"oidc"`
	Live  Live  `toml:"live"`
	Log   Log   `toml:"log"`
}

// Ways of TLS for people.
const (
	TLSOff   = "off"   // plain HTTP; on the loopback, or behind a proxy
	TLSFiles = "files" // a certificate from files, read again when they change
	TLSOwn   = "own"   // a certificate of the panel's own authority
	TLSAuto  = "auto"  // from an ACME authority such as Let's Encrypt
)

// TLS is for the address of people. Devices have their own authority.
type TLS struct {
	Mode   string   `toml:"mode"`
	Cert   string   `toml:"cert"`    // PEM files
	Key    string   `toml:"key"`     // likewise
	Hosts  []string `toml:"hosts"`   // names to get certificates for
	ACME   string   `toml:"acme"`    // URL of the directory of an ACME authority; "": Let's Encrypt's
	ACMECA string   `toml:"acme_ca"` // PEM file of who vouches for that; "": those that this machine trusts
	Mail   string   `toml:"mail"`    // to which that may write about certificates
	Proxy  bool     `toml:"proxy"`   // a proxy in front does TLS: believe its X-Forwarded-For and -Proto
}

// Stores.
const (
	StoreBolt = "bolt" // a file below Data, for one panel
	StoreEtcd = "etcd" // a cluster, for any number of panels
)

// Store says where the panel remembers.
type Store struct {
	Kind         string   `toml:"kind"`
	Endpoints    []string `toml:"endpoints"` // of etcd
	Prefix       string   `toml:"prefix"`    // of its keys
	CA           string   `toml:"ca"`        // PEM files for TLS to etcd
	Cert         string   `toml:"cert"`
	Key          string   `toml:"key"`
	Username     string   `toml:"username"`
	PasswordFile string   `toml:"password_file"`
	Releases     string   `toml:"releases"` // directory of packages, shared by all panels; "": below Data
}

// OIDC lets people sign in with an identity provider. It is off without an issuer.
type OIDC struct {
	Issuer     string            `toml:"issuer"`
	ClientID   string            `toml:"client_id"`
	SecretFile string            `toml:"secret_file"`
	Claim      string            `toml:"claim"` // that names a person's groups
	Groups     map[string]string `toml:"groups"`
}

// Live says how people watch devices that their browsers cannot reach. It is off without
// Media.
type Live struct {
	Media     string   `toml:"media"`     // UDP address by which browsers watch through the panel
	Legs      string   `toml:"legs"`      // UDP address to which devices bring pictures; "": on their links
	Bin       string   `toml:"bin"`       // directory of slipstream-forward and slipstream-gateway; "": the panel's own
	Advertise []string `toml:"advertise"` // IPs told to browsers in place of this machine's own
	TURN      string   `toml:"turn"`      // TCP address by which browsers watch whose UDP is blocked; TLS is as for people
	TURNAt    string   `toml:"turn_at"`   // HOST:PORT told to them; "": the panel's own name, and turn's port
}

// Log says how the panel logs.
type Log struct {
	Level  string `toml:"level"`  // "debug", "info", "warn" or "error"
	Format string `toml:"format"` // "text" or "json"
}

// Default is what a file that says nothing gives.
func Default() Config {
	return Config{
		Data: "/var/lib/slipstream-panel", Panel: "panel", Listen: "127.0.0.1:8080", Devices: ":8443",
		TLS: TLS{Mode: TLSOff}, Store: Store{Kind: StoreBolt, Prefix: "/slipstream/"},
		OIDC: OIDC{Claim: "groups"}, Log: Log{Level: "info", Format: "text"},
	}
}

// ReleasesDir is the directory of packages.
func (c Config) ReleasesDir() string {
	if c.Store.Releases != "" {
		return c.Store.Releases
	}
	return filepath.Join(c.Data, "releases")
}

// Validate finds all that is wrong. Each problem begins with its key.
func (c Config) Validate() error {
	problems := []error{
		absolute("data", c.Data), address("listen", c.Listen), address("devices", c.Devices), optional("metrics", c.Metrics, address),
		optional("trust", c.Trust, absolute), optional("fleet", c.Fleet, absolute), optional("url", c.URL, webURL),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"), oneOf("log.format", c.Log.Format, "text", "json"),
		c.orders(), c.TLS.validate(), c.Store.validate(), c.OIDC.validate(c.URL), c.Live.validate(), c.exposed(),
	}
	if c.Panel == "" || len(c.Panel) > 60 || strings.ContainsFunc(c.Panel, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }) {
		problems = append(problems, fmt.Errorf("panel = %q must be a short name without blanks and slashes", c.Panel))
	}
	return errors.Join(problems...)
}

// orders judges the keys of orders. Without a fleet there is nobody to obey them.
func (c Config) orders() error {
	var problems []error
	for _, file := range c.Orders {
		problems = append(problems, absolute("orders", file))
	}
	if len(c.Orders) > 0 && c.Fleet == "" {
		problems = append(problems, errors.New("orders are signed under the root of a fleet, and fleet is not set"))
	}
	return errors.Join(problems...)
}

// exposed refuses passwords in the clear on a network.
func (c Config) exposed() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil || c.TLS.Mode != TLSOff || c.TLS.Proxy {
		return nil //nolint:nilerr // the address is judged elsewhere
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("listen = %q is reachable from elsewhere without TLS: set tls.mode, or tls.proxy if a proxy does it", c.Listen)
	}
	return nil
}

func (l Live) validate() error {
	problems := []error{optional("live.media", l.Media, address), optional("live.legs", l.Legs, address), optional("live.bin", l.Bin, absolute)}
	problems = append(problems, optional("live.turn", l.TURN, address), optional("live.turn_at", l.TURNAt, address))
	if l.Media == "" && (l.Legs != "" || l.Bin != "" || len(l.Advertise) > 0 || l.TURN != "") {
		problems = append(problems, errors.New("live.legs and what belongs to it need live.media"))
	}
	if host, _, err := net.SplitHostPort(l.TURNAt); l.TURNAt != "" && (l.TURN == "" || err == nil && host == "") {
		problems = append(problems, fmt.Errorf("live.turn_at = %q is where browsers find live.turn: a host, and a port", l.TURNAt))
	}
	for _, ip := range l.Advertise {
		if net.ParseIP(ip) == nil {
			problems = append(problems, fmt.Errorf("live.advertise: %q is no IP address", ip))
		}
	}
	return errors.Join(problems...)
}

func (t TLS) validate() error {
	problems := []error{oneOf("tls.mode", t.Mode, TLSOff, TLSFiles, TLSOwn, TLSAuto)}
	if t.Mode == TLSFiles {
		problems = append(problems, absolute("tls.cert", t.Cert), absolute("tls.key", t.Key))
	} else if t.Cert != "" || t.Key != "" {
		problems = append(problems, fmt.Errorf("tls.cert and tls.key are for tls.mode = %q", TLSFiles))
	}
	if t.Mode == TLSAuto && len(t.Hosts) == 0 {
		problems = append(problems, errors.New("tls.hosts names no host to get a certificate for"))
	}
	if t.Mode != TLSAuto && (t.ACME != "" || t.ACMECA != "" || t.Mail != "") {
		problems = append(problems, fmt.Errorf("tls.acme, tls.acme_ca and tls.mail are for tls.mode = %q", TLSAuto))
	}
	if t.ACME != "" && !strings.HasPrefix(t.ACME, "https://") {
		problems = append(problems, fmt.Errorf("tls.acme = %q must begin with https://", t.ACME))
	}
	problems = append(problems, optional("tls.acme", t.ACME, webURL), optional("tls.acme_ca", t.ACMECA, absolute))
	if t.Proxy && t.Mode != TLSOff {
		problems = append(problems, fmt.Errorf("tls.proxy is for tls.mode = %q", TLSOff))
	}
	return errors.Join(problems...)
}

func (s Store) validate() error {
	problems := []error{oneOf("store.kind", s.Kind, StoreBolt, StoreEtcd), optional("store.releases", s.Releases, absolute)}
	if s.Kind != StoreEtcd {
		if len(s.Endpoints) > 0 || s.Username != "" || s.PasswordFile != "" || s.CA != "" || s.Cert != "" || s.Key != "" {
			problems = append(problems, fmt.Errorf("store.endpoints and what belongs to it are for store.kind = %q", StoreEtcd))
		}
		return errors.Join(problems...)
	}
	if len(s.Endpoints) == 0 {
		problems = append(problems, errors.New("store.endpoints names no member of the cluster"))
	}
	for _, e := range s.Endpoints {
		problems = append(problems, webURL("store.endpoints", e))
	}
	if !strings.HasPrefix(s.Prefix, "/") || !strings.HasSuffix(s.Prefix, "/") {
		problems = append(problems, fmt.Errorf("store.prefix = %q must begin and end with a slash", s.Prefix))
	}
	if (s.Cert == "") != (s.Key == "") {
		problems = append(problems, errors.New("store.cert and store.key belong together"))
	}
	if (s.Username == "") != (s.PasswordFile == "") {
		problems = append(problems, errors.New("store.username and store.password_file belong together"))
	}
	for _, f := range [][2]string{{"store.ca", s.CA}, {"store.cert", s.Cert}, {"store.key", s.Key}, {"store.password_file", s.PasswordFile}} {
		problems = append(problems, optional(f[0], f[1], absolute))
	}
	return errors.Join(problems...)
}

func (o OIDC) validate(panel string) error {
	if o.Issuer == "" {
		if o.ClientID != "" || o.SecretFile != "" {
			return errors.New("oidc.issuer is not set, but oidc.client_id or oidc.secret_file is")
		}
		return nil
	}
	problems := []error{webURL("oidc.issuer", o.Issuer), absolute("oidc.secret_file", o.SecretFile)}
	if o.ClientID == "" {
		problems = append(problems, errors.New("oidc.client_id is not set"))
	}
	if panel == "" {
		problems = append(problems, errors.New("url is not set, and the identity provider sends people back to it"))
	}
	for group, role := range o.Groups {
		problems = append(problems, oneOf("oidc.groups."+group, role, "viewer", "operator", "releaser", "admin"))
	}
	return errors.Join(problems...)
}

func optional(key, value string, check func(key, value string) error) error {
	if value == "" {
		return nil
	}
	return check(key, value)
}

func absolute(key, value string) error {
	if !filepath.IsAbs(value) {
		return fmt.Errorf("%s = %q must be an absolute path", key, value)
	}
	return nil
}

func address(key, value string) error {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s = %q must be an address with a port, as in 127.0.0.1:8080", key, value)
	}
	return nil
}

func webURL(key, value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%s: %q must be a URL such as https://panel.example", key, value)
	}
	return nil
}

func oneOf(key, value string, of ...string) error {
	if !slices.Contains(of, value) {
		return fmt.Errorf("%s = %q is none of %s", key, value, strings.Join(of, ", "))
	}
	return nil
}
