package verify

import (
	"math"
	"slices"
	"testing"
)

func TestStreamsTheExtremes(t *testing.T) {
	for name, change := range map[string]func(video, audio *Stream){
		"h265":               func(v, _ *Stream) { v.Codec, v.Profile = CodecH265, "" },
		"mjpeg":              func(v, _ *Stream) { v.Codec, v.Profile = CodecMJPEG, "" },
		"pcmu":               func(_, a *Stream) { a.Codec = CodecPCMU },
		"pcma":               func(_, a *Stream) { a.Codec = CodecPCMA },
		"aac":                func(_, a *Stream) { a.Codec = CodecAAC },
		"frames on events":   func(v, _ *Stream) { v.Events = true },
		"sound with a limit": func(_, a *Stream) { a.StallMS = 250 },
		"sound to nobody":    func(v, _ *Stream) { v.Audio = "" },
		"many invariants":    func(v, _ *Stream) { v.Invariants = invariants(MaxInvariants) },
		"defaults":           func(v, _ *Stream) { v.Invariants[0].WindowMS, v.Invariants[0].Severity = 0, "" },
		"longest window, wanted": func(v, _ *Stream) {
			v.Invariants[0].WindowMS, v.Invariants[0].Severity = maxWindowMS, SeverityWanted
		},
		"a bound of zero":    func(v, _ *Stream) { *v.Invariants[0].Min = 0 },
		"one value":          func(v, _ *Stream) { *v.Invariants[0].Min, *v.Invariants[0].Max = 1, 1 },
		"the greatest bound": func(v, _ *Stream) { *v.Invariants[0].Max = MaxJSONInteger },
		"invariant of sound": func(v, a *Stream) { a.Invariants = v.Invariants },
	} {
		m := sampleManifest()
		m.App.SoakMS = 3000
		change(&m.App.Streams[0], &m.App.Streams[1])
		if err := m.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStreamsRefused(t *testing.T) {
	for _, row := range []struct {
		name   string
		code   string
		change func(app *App, video, audio *Stream)
	}{
		{"codec", CodeCodec, func(_ *App, v, _ *Stream) { v.Codec = "vp8" }},
		{"no codec", CodeCodec, func(_ *App, _, a *Stream) { a.Codec = "" }},
		{"codec in capitals", CodeCodec, func(_ *App, v, _ *Stream) { v.Codec = "H264" }},
		{"picture without a size", CodeManifest, func(_ *App, v, _ *Stream) { v.Codec, v.Profile, v.Width = CodecMJPEG, "", 0 }},
		{"sound with a width", CodeManifest, func(_ *App, _, a *Stream) { a.Width = 320 }},
		{"sound with a height", CodeManifest, func(_ *App, _, a *Stream) { a.Height = 180 }},
		{"profile of h265", CodeManifest, func(_ *App, v, _ *Stream) { v.Codec = CodecH265 }},
		{"profile of sound", CodeManifest, func(_ *App, _, a *Stream) { a.Profile = "42e01f" }},
		{"events and a stall limit", CodeManifest, func(_ *App, v, _ *Stream) { v.Events, v.StallMS = true, 250 }},
		{"audio that is not there", CodeManifest, func(_ *App, v, _ *Stream) { v.Audio = "other" }},
		{"audio that is a picture", CodeManifest, func(_ *App, v, a *Stream) { a.Codec, a.Width, a.Height = CodecH265, 320, 180 }},
		{"its own audio", CodeManifest, func(_ *App, v, _ *Stream) { v.Audio = v.Name }},
		{"audio of sound", CodeManifest, func(_ *App, _, a *Stream) { a.Audio = a.Name }},
		{"too many invariants", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants = invariants(MaxInvariants + 1) }},
		{"invariant twice", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[1].Name = v.Invariants[0].Name }},
		{"invariant without a name", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].Name = "" }},
		{"invariant with a point", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].Name = "a.b" }},
		{"measure", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].Measure = "colour" }},
		{"picture size of sound", CodeManifest, func(_ *App, v, a *Stream) {
			a.Invariants = []Invariant{{Name: "x", Measure: MeasurePictureSize, Against: AgainstNothing, Min: new(1.0)}}
		}},
		{"key interval of sound", CodeManifest, func(_ *App, v, a *Stream) {
			a.Invariants = []Invariant{{Name: "x", Measure: MeasureKeyInterval, Against: AgainstNothing, Max: new(1.0)}}
		}},
		{"against", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].Against = "" }},
		{"severity", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].Severity = "fatal" }},
		{"window too short", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].WindowMS = minWindowMS - 1 }},
		{"window too long", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].WindowMS = maxWindowMS + 1 }},
		{"no bounds", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].Min, v.Invariants[0].Max = nil, nil }},
		{"bounds crossed", CodeManifest, func(_ *App, v, _ *Stream) { *v.Invariants[0].Min = 2 }},
		{"negative rate", CodeManifest, func(_ *App, v, _ *Stream) { *v.Invariants[0].Min = -1 }},
		{"bound of seven decimals", CodeManifest, func(_ *App, v, _ *Stream) { *v.Invariants[0].Min = 1e-7 }},
		{"bound above 2^53", CodeManifest, func(_ *App, v, _ *Stream) { *v.Invariants[0].Max = 1 << 54 }},
		{"infinite bound", CodeManifest, func(_ *App, v, _ *Stream) { *v.Invariants[0].Max = math.Inf(1) }},
		{"no number", CodeManifest, func(_ *App, v, _ *Stream) { *v.Invariants[0].Max = math.NaN() }},
		{"a break", "", func(app *App, _, _ *Stream) { app.Breaks = []string{"main", "gone"} }},
		{"a break twice", CodeManifest, func(app *App, _, _ *Stream) { app.Breaks = []string{"main", "main"} }},
		{"a break of no name", CodeManifest, func(app *App, _, _ *Stream) { app.Breaks = []string{"Main"} }},
		{"too many breaks", CodeManifest, func(app *App, _, _ *Stream) { app.Breaks = numbered("s", MaxStreams+1) }},
		{"soak shorter than a required window", CodeManifest, func(app *App, _, _ *Stream) { app.SoakMS = 999 }},
		{"soak shorter than the default window", CodeManifest, func(_ *App, v, _ *Stream) { v.Invariants[0].WindowMS = 0 }},
		{"soak shorter than the window of the default severity", CodeManifest, func(_ *App, v, _ *Stream) {
			v.Invariants[0].WindowMS, v.Invariants[0].Severity = 1001, ""
		}},
	} {
		m := sampleManifest()
		row.change(m.App, &m.App.Streams[0], &m.App.Streams[1])
		if err := m.Validate(); Code(err) != row.code {
			t.Errorf("%s: got %v with code %q, want code %q", row.name, err, Code(err), row.code)
		}
	}
}

// invariants are bounds that hold for any stream.
func invariants(n int) []Invariant {
	one := Invariant{Measure: MeasureGap, Against: AgainstNothing, Max: new(1000.0), WindowMS: minWindowMS}
	list := slices.Repeat([]Invariant{one}, n)
	for i, name := range numbered("i", n) {
		list[i].Name = name
	}
	return list
}
