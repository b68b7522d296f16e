package config

import (
	"errors"
	"fmt"
)

// MaxTighten is how many invariants a device can have stricter than their manifests.
const MaxTighten = 64

// Tighten makes an invariant stricter on this device than a package's manifest declares
// it. What would make it looser has no effect, and neither has one that a manifest does
// not declare: the manifest is signed, and this file is not.
type Tighten struct {
	Stream   string   `toml:"stream"` // of one of a stream's invariants; "": of a check of the app
	Name     string   `toml:"name"`
	Min      *float64 `toml:"min"`      // of a stream's
	Max      *float64 `toml:"max"`      // of a stream's, or a check of kind process
	Failures int      `toml:"failures"` // of a check: so many in a row break it; 0: as declared
	Required bool     `toml:"required"` // it reverts the trial, also where it is only wanted
}

func validateTighten(list []Tighten) error {
	if len(list) > MaxTighten {
		return fmt.Errorf("tighten has %d entries; at most %d fit", len(list), MaxTighten)
	}
	var problems []error
	for i, t := range list {
		switch {
		case t.Name == "":
			problems = append(problems, fmt.Errorf("tighten, entry %d: name is not set", i+1))
		case t.Failures < 0:
			problems = append(problems, fmt.Errorf("tighten of %s: failures = %d must not be negative", t.Name, t.Failures))
		case t.Stream == "" && t.Min != nil:
			problems = append(problems, fmt.Errorf("tighten of %s: min is for the invariants of streams; name the stream", t.Name))
		case t.Stream != "" && t.Failures != 0:
			problems = append(problems, fmt.Errorf("tighten of %s: failures is for the checks of an app, which have no stream", t.Name))
		case t.Min == nil && t.Max == nil && t.Failures == 0 && !t.Required:
			problems = append(problems, fmt.Errorf("tighten of %s says nothing: set min, max, failures or required", t.Name))
		}
	}
	return errors.Join(problems...)
}
