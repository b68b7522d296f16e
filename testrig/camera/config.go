package camera

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// ConfigName is the camera's configuration in its slot's root.
const ConfigName = "camera.json"

// maxConfig bounds the configuration in bytes.
const maxConfig = 64 << 10

// Ways to misbehave.
const (
	FaultNone        = "none"
	FaultExit        = "exit"         // end with status 1
	FaultSEGV        = "segv"         // die by the signal SIGSEGV
	FaultHang        = "hang"         // every thread stops, sockets stay open
	FaultStopSending = "stop-sending" // no more frames, otherwise alive
	FaultNeverReady  = "never-ready"  // frames, but READY=1 never comes
	FaultGrow        = "grow"         // memory grows to Fault.Megabytes
	FaultFork        = "fork"         // it doubles until it is Fault.Processes
	FaultSpin        = "spin"         // every processor is kept busy
	FaultReread      = "reread"       // it reads all of its slot, and ends if it cannot
)

var faults = []string{
	FaultNone, FaultExit, FaultSEGV, FaultHang, FaultStopSending, FaultNeverReady, FaultGrow, FaultFork, FaultSpin, FaultReread,
}

// Config is camera.json. It is signed and packaged with the version.
type Config struct {
	Version    string     `json:"version"`
	Streams    []Stream   `json:"streams"`
	Greenlight Greenlight `json:"greenlight"`
	Fault      Fault      `json:"fault"`
	RTSP       bool       `json:"rtsp,omitempty"`  // it publishes to the slot's ingest, as any encoder could
	State      bool       `json:"state,omitempty"` // it hands its count over: the manifest declares [StateSchema]
	// Sensor is a video device without whose pictures the camera shows none.
	Sensor string `json:"sensor,omitempty"`
	// LagMS is how far it may fall behind before it leaves frames out; 0: a second.
	LagMS int64 `json:"lagMs,omitempty"`
}

// lag is LagMS, or its default.
func (c Config) lag() time.Duration {
	return cmp.Or(time.Duration(c.LagMS)*time.Millisecond, maxLag)
}

// Stream is one published stream.
type Stream struct {
	Name  string `json:"name"`
	Clip  string `json:"clip,omitempty"`  // a file in the slot's root
	Phase uint64 `json:"phase,omitempty"` // the counter that the clip's first frame shows
	// Sound makes the stream a tone in place of a clip: SoundPCMU or SoundPCMA.
	Sound string `json:"sound,omitempty"`
}

// Greenlight says whether the camera's self-test passes, and how long it takes.
type Greenlight struct {
	By      string `json:"by"` // "app" or "never"
	AfterMS int64  `json:"afterMs,omitempty"`
}

// Fault is what the camera does AfterMS after it has said READY=1.
type Fault struct {
	Kind      string `json:"kind"`
	AfterMS   int64  `json:"afterMs,omitempty"`
	Megabytes int    `json:"megabytes,omitempty"` // for "grow"
	Processes int    `json:"processes,omitempty"` // for "fork", a power of two
}

// maxLagMS bounds LagMS.
const maxLagMS = 60_000

// Bounds of a fault, which may be let loose where nothing else bounds it.
const (
	maxGrow = 2048 // megabytes
	maxFork = 1024 // processes
)

// LoadConfig reads camera.json from a slot's root; an unknown key is an error.
func LoadConfig(root string) (Config, error) {
	data, err := readFile(filepath.Join(root, ConfigName), maxConfig)
	if err != nil {
		return Config{}, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var c Config
	if err := dec.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("read %s: %w", ConfigName, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read %s: something stands after the configuration", ConfigName)
	}
	return c, c.Validate()
}

// Validate reports all problems of a configuration.
func (c Config) Validate() error {
	var problems []error
	complain := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(ConfigName+": "+format, args...))
	}
	if c.Version == "" || len(c.Version) > maxVersion {
		complain("version must have 1 to %d bytes", maxVersion)
	}
	if len(c.Streams) == 0 {
		complain("no streams")
	}
	for _, s := range c.Streams {
		switch {
		case s.Name == "" || s.Sound == "" && !filepath.IsLocal(s.Clip):
			complain("stream %q needs a name and a clip inside the slot", s.Name)
		case s.Sound != "" && (s.Sound != SoundPCMU && s.Sound != SoundPCMA || s.Clip != "" || s.Phase != 0):
			complain("stream %q has the sound %q: %s or %s, and no clip", s.Name, s.Sound, SoundPCMU, SoundPCMA)
		}
	}
	if c.Greenlight.By != "app" && c.Greenlight.By != "never" {
		complain("greenlight.by is %q, not app or never", c.Greenlight.By)
	}
	if !slices.Contains(faults, c.Fault.Kind) {
		complain("fault.kind is %q, not one of %v", c.Fault.Kind, faults)
	}
	if c.Greenlight.AfterMS < 0 || c.Fault.AfterMS < 0 {
		complain("afterMs is negative")
	}
	if c.Sensor != "" && !filepath.IsAbs(c.Sensor) {
		complain("sensor is not the path of a device")
	}
	if c.LagMS < 0 || c.LagMS > maxLagMS {
		complain("lagMs is not in 0 to %d", maxLagMS)
	}
	if c.Fault.Megabytes < 0 || c.Fault.Megabytes > maxGrow {
		complain("fault.megabytes is not in 0 to %d", maxGrow)
	}
	if n := c.Fault.Processes; n < 0 || n > maxFork || n&(n-1) != 0 {
		complain("fault.processes is not a power of two in 0 to %d", maxFork)
	}
	return errors.Join(problems...)
}

// readFile reads a whole file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is over the limit of %d bytes", path, limit)
	}
	return data, nil
}
