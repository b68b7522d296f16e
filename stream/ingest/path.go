package ingest

import (
	"crypto/subtle"
	"strings"
)

// route finds the declared stream that a publisher's path names: "/SECRET" is the
// first one, "/SECRET/NAME" any. It reports false without saying what was wrong.
func (c Config) route(path string) (stream string, ok bool) {
	secret, name, named := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
	known := subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) == 1
	if !known || c.Secret == "" {
		return "", false
	}
	if !named {
		return c.Streams[0].Name, true
	}
	s := c.stream(name)
	return s.Name, s.Name != ""
}

// stream is the declared one of that name; its own name is "" if there is none.
func (c Config) stream(name string) Stream {
	for _, s := range c.Streams {
		if s.Name == name {
			return s
		}
	}
	return Stream{}
}
