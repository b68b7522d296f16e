// Package clips holds the sample camera's films, one a version, in its own
// package so that the camera's binary does not carry them: it reads the one in
// its slot. They are made by ../clips.sh.
package clips

import (
	"embed"
	"fmt"
)

//go:embed *.h264
var files embed.FS

// Clip is one film of 300 frames, 320 × 180, 30 frames a second, in one take or
// several, whose key frames are at different ones.
type Clip struct {
	File    string
	Version string // drawn into the picture
	Phase   uint64 // the counter that the first frame shows
	GOP     int    // frames from key frame to key frame
	Takes   int
	Colour  [3]uint8
}

// All films. The phases differ so that versions have their key frames at
// different instants; they must be those of clips.sh.
var All = []Clip{
	{"v1.h264", "1.0", 0, 10, 3, [3]uint8{0x1e, 0x50, 0xa0}},
	{"v2.h264", "2.0", 3, 10, 3, [3]uint8{0x1e, 0x78, 0x32}},
	{"v3.h264", "3.0", 6, 10, 3, [3]uint8{0xa0, 0x28, 0x28}},
	{"v4.h264", "4.0", 9, 10, 3, [3]uint8{0x6e, 0x2d, 0x8c}},
	{"v5.h264", "5.0", 2, 10, 3, [3]uint8{0xa0, 0x64, 0x14}},
	{"v6.h264", "6.0", 5, 10, 3, [3]uint8{0x50, 0x50, 0x50}},
	{"long-gop.h264", "1.0", 0, 60, 1, [3]uint8{0x14, 0x78, 0x78}},
}

// Of is the film of a version.
func Of(version string) (Clip, error) {
	for _, c := range All {
		if c.Version == version {
			return c, nil
		}
	}
	return Clip{}, fmt.Errorf("clips: no film of version %q", version)
}

// Data is the film as an Annex B stream.
func (c Clip) Data() []byte {
	data, err := files.ReadFile(c.File)
	if err != nil {
		panic("clips: " + err.Error()) // embedded at build time
	}
	return data
}
