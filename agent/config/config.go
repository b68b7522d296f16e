package config

import (
	"os"
	"path/filepath"
)

// File is where the configuration is looked for when nobody says otherwise.
const File = "/etc/slipstream/slipstream.toml"

// FactoryPackage is the package of the version that a device comes with, kept as a file:
// what it can return to when everything else is lost. It belongs to the system's image
// and not to the state directory, which may be what was lost.
const FactoryPackage = "/usr/share/slipstream/factory.slip"

// Config is the whole configuration of a device.
type Config struct {
	Device   string `toml:"device"`   // this one device
	Product  string `toml:"product"`  // what packages must be made for
	Hardware string `toml:"hardware"` // its hardware revision
	State    string `toml:"state"`    // directory that survives reboots
	Run      string `toml:"run"`      // directory lost at a reboot
	Trust    string `toml:"trust"`    // the vendor's root, or a PEM file of the release keys
	Factory  string `toml:"factory"`  // package of the version that the device came with
	Counter  string `toml:"counter"`  // file of the rollback counter, none if empty
	Bin      string `toml:"bin"`      // directory of slipstream-forward and its siblings
	Cgroup   string `toml:"cgroup"`   // of version 2, below which apps get their own; "": the agent's

	Tighten []Tighten `toml:"tighten"`

	Stream  Stream  `toml:"stream"`
	Apps    Apps    `toml:"apps"`
	Gateway Gateway `toml:"gateway"`
	Fetch   Fetch   `toml:"fetch"`
	Fleet   Fleet   `toml:"fleet"`
	System  System  `toml:"system"`
}

// Stream holds what goes for every stream.
type Stream struct {
	// StallMS is the shortest silence that counts as a stall, whatever a
	// manifest asks for: on a busy machine a small limit is a false alarm.
	StallMS int64 `toml:"stall_ms"`
}

// Apps says as whom apps run, and what of the device they may use besides their own.
// Users are names or UID:GID; only those of the default may be missing.
type Apps struct {
	UserA   string   `toml:"user_a"`  // in slot a, if the agent is root
	UserB   string   `toml:"user_b"`  // in slot b
	Groups  []string `toml:"groups"`  // more groups of both
	Devices []string `toml:"devices"` // patterns of device nodes that they may use
	Write   []string `toml:"write"`   // more files and directories that they may write
	// FallbackMinutes is how long after its commit a version that keeps ending is left
	// for the one before, if its manifest does not say less.
	FallbackMinutes *int `toml:"fallback_minutes"`
}

// MaxFallbackMinutes bounds Apps.FallbackMinutes: no version is left by the device itself later.
const MaxFallbackMinutes = 24 * 60

// Gateway says where viewers find the device, and who may be one. An empty HTTP,
// RTSP or RTSPS address turns that way of watching off.
type Gateway struct {
	Public    bool     `toml:"public"`    // everybody may watch; else those in Viewers
	Viewers   string   `toml:"viewers"`   // file of those who may
	HTTP      string   `toml:"http"`      // WHEP
	RTSP      string   `toml:"rtsp"`      // RTSP playback
	UDP       string   `toml:"udp"`       // media of WHEP viewers
	RTSPS     string   `toml:"rtsps"`     // RTSP over TLS
	TLSCert   string   `toml:"tls_cert"`  // PEM files of its certificate
	TLSKey    string   `toml:"tls_key"`   // and key
	Advertise []string `toml:"advertise"` // addresses told to viewers behind a mapping
	Metrics   string   `toml:"metrics"`   // metrics for Prometheus
	Origins   []string `toml:"origins"`   // whose web pages may play by WHEP

	MaxViewers    int `toml:"max_viewers"`     // 0: the gateway's default
	MaxPerAddress int `toml:"max_per_address"` // viewers of one address; 0: likewise
}

// Fetch is how packages are downloaded.
type Fetch struct {
	MaxKbps      int `toml:"max_kbps"`      // kbit/s; 0: as fast as the line
	MinKbps      int `toml:"min_kbps"`      // whoever sends less is given up; 0: the downloader's default, and so below
	StallS       int `toml:"stall_s"`       // seconds without a byte
	Attempts     int `toml:"attempts"`      // in vain, in a row
	TotalMinutes int `toml:"total_minutes"` // of a whole package
}

// Fleet says whose orders packages need besides the vendor's signature.
type Fleet struct {
	Root string `toml:"root"` // file of the fleet's root; none if empty
}

// Default is what a file that names only the device, product and hardware
// gives. Viewers come in by loopback only, and need a credential: whoever opens a
// camera to a network or to everybody says so.
func Default() Config {
	return Config{
		State: "/var/lib/slipstream",
		Run:   "/run/slipstream",
		Trust: "/etc/slipstream/trust.pem", Factory: FactoryPackage,
		Bin:    ownDir(),
		Stream: Stream{StallMS: 50},
		Apps:   DefaultApps(),
		System: System{Reboot: []string{"reboot"}, WatchdogS: 120},
		Gateway: Gateway{
			Viewers: "/etc/slipstream/viewers",
			HTTP:    "127.0.0.1:8889", RTSP: "127.0.0.1:8554", UDP: "127.0.0.1:8189",
		},
	}
}

// DefaultApps lets apps use what cameras have, as far as their user may.
func DefaultApps() Apps {
	return Apps{
		UserA: "slip-a", UserB: "slip-b", Groups: []string{"video", "audio", "render"},
		Devices: []string{
			"/dev/video*", "/dev/v4l-*", "/dev/v4l", "/dev/media*", "/dev/dri", "/dev/snd", "/dev/dma_heap", "/dev/vchiq", "/dev/mpp_service", "/dev/rga",
		},
	}
}

// On tells whether there is any way to watch.
func (g Gateway) On() bool { return g.HTTP != "" || g.RTSP != "" || g.RTSPS != "" }

// Socket is the path of the agent's local face.
func (c Config) Socket() string { return filepath.Join(c.Run, "agent.sock") }

// ownDir is the directory of the running binary, where its siblings lie.
func ownDir() string {
	exe, err := os.Executable()
	if err != nil {
		return "/usr/bin"
	}
	return filepath.Dir(exe)
}
