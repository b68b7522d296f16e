package verify

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValidateTakesTheExtremes(t *testing.T) {
	for name, change := range map[string]func(*Manifest){
		"as it is":         func(*Manifest) {},
		"no soak":          func(m *Manifest) { m.App.SoakMS, m.App.Streams[0].Invariants = 0, nil },
		"never restarted":  func(m *Manifest) { m.App.RestartMax, m.App.RestartWindow = 0, 0 },
		"never left":       func(m *Manifest) { m.App.FallbackForMS = new(int64) },
		"left for a day":   func(m *Manifest) { m.App.FallbackForMS = new(int64(24 * 60 * 60 * 1000)) },
		"expires":          func(m *Manifest) { m.Expires = m.IssuedAt.Add(time.Second) },
		"absolute program": func(m *Manifest) { m.App.Exec = []string{"/bin/sh", "-c", "exec ./camera"} },
		"many streams":     func(m *Manifest) { m.App.Streams = streams(MaxStreams) },
		"longest names": func(m *Manifest) {
			m.Product = strings.Repeat("x", MaxName)
			m.Images[0].Name = strings.Repeat("y", MaxImageName)
		},
		"greatest counter":  func(m *Manifest) { m.ReleaseCounter = MaxJSONInteger },
		"largest image":     func(m *Manifest) { m.Images[0].Size, m.Images[0].Chunks.Count = MaxImageSize, MaxChunks },
		"frozen, operator":  func(m *Manifest) { m.App.Overlap, m.App.Greenlight = OverlapFrozen, GreenlightOperator },
		"none, auto":        func(m *Manifest) { m.App.Overlap, m.App.Greenlight = OverlapNone, GreenlightAuto },
		"watchdog, stall":   func(m *Manifest) { m.App.WatchdogMS, m.App.Streams[0].StallMS = 1000, 250 },
		"pre-release":       func(m *Manifest) { m.Version = "1.0.0-alpha.1" },
		"hardware of many":  func(m *Manifest) { m.Hardware = numbered("cam-", MaxHardware) },
		"notes of one page": func(m *Manifest) { m.Notes = strings.Repeat("x\n", MaxNotes/2) },
	} {
		m := sampleManifest()
		change(&m)
		if err := m.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	for _, row := range []struct {
		name, code string
		change     func(*Manifest)
	}{
		{"format", CodeManifest, func(m *Manifest) { m.Format = 0 }},
		{"no product", CodeManifest, func(m *Manifest) { m.Product = "" }},
		{"product with a space", CodeManifest, func(m *Manifest) { m.Product = "gate cam" }},
		{"product with a line end", CodeManifest, func(m *Manifest) { m.Product = "gatecam\n" }},
		{"product with a slash", CodeManifest, func(m *Manifest) { m.Product = "gate/cam" }},
		{"product too long", CodeManifest, func(m *Manifest) { m.Product = strings.Repeat("x", MaxName+1) }},
		{"hardware twice", CodeManifest, func(m *Manifest) { m.Hardware = []string{"a", "a"} }},
		{"hardware of too many", CodeManifest, func(m *Manifest) { m.Hardware = numbered("cam-", MaxHardware+1) }},
		{"version of two numbers", CodeManifest, func(m *Manifest) { m.Version = "1.0" }},
		{"version with v", CodeManifest, func(m *Manifest) { m.Version = "v1.0.0" }},
		{"version with a leading zero", CodeManifest, func(m *Manifest) { m.Version = "1.02.0" }},
		{"version with a path", CodeManifest, func(m *Manifest) { m.Version = "1.0.0-../x" }},
		{"version with a line end", CodeManifest, func(m *Manifest) { m.Version = "1.0.0\n" }},
		{"version too long", CodeManifest, func(m *Manifest) { m.Version = "1.0.0-" + strings.Repeat("x", MaxName) }},
		{"counter 0", CodeManifest, func(m *Manifest) { m.ReleaseCounter = 0 }},
		{"epoch below 0", CodeManifest, func(m *Manifest) { m.SecurityEpoch = -1 }},
		{"follows a later release", CodeManifest, func(m *Manifest) { m.MinFromCounter = m.ReleaseCounter + 1 }},
		{"no time", CodeManifest, func(m *Manifest) { m.IssuedAt = time.Time{} }},
		{"expired when issued", CodeManifest, func(m *Manifest) { m.Expires = m.IssuedAt }},
		{"expires in 9999", CodeManifest, func(m *Manifest) { m.Expires = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"no images", CodeManifest, func(m *Manifest) { m.Images = nil }},
		{"two images of a class", CodeManifest, func(m *Manifest) {
			m.Images = append(m.Images, m.Images[0])
			m.Images[1].Name = "other.tree"
		}},
		{"image named as the other's index", CodeManifest, func(m *Manifest) {
			m.Images = append(m.Images, m.Images[0])
			m.Images[1].Name = "app.tree.chunks"
		}},
		{"too many images", CodeManifest, func(m *Manifest) { m.Images = slices.Repeat(m.Images, MaxImages+1) }},
		{"class boot", CodeClass, func(m *Manifest) { m.Images[0].Class = "boot" }},
		{"encrypted by another tool", CodeManifest, func(m *Manifest) {
			m.Images[0].Encryption = &Encryption{"gpg", m.Images[0].Size - 1, m.Images[0].SHA256}
		}},
		{"encrypted and no larger", CodeManifest, func(m *Manifest) {
			m.Images[0].Encryption = &Encryption{EncryptionAge, m.Images[0].Size, m.Images[0].SHA256}
		}},
		{"encrypted, of no hash", CodeManifest, func(m *Manifest) {
			m.Images[0].Encryption = &Encryption{EncryptionAge, m.Images[0].Size - 1, ""}
		}},
		{"kind ext4", CodeKind, func(m *Manifest) { m.Images[0].Kind = "ext4" }},
		{"hash in capitals", CodeManifest, func(m *Manifest) { m.Images[0].SHA256 = strings.Repeat("A", 64) }},
		{"hash too short", CodeManifest, func(m *Manifest) { m.Images[0].Chunks.SHA256 = "00" }},
		{"image of no bytes", CodeManifest, func(m *Manifest) { m.Images[0].Size = 0 }},
		{"image too large", CodeManifest, func(m *Manifest) { m.Images[0].Size, m.Images[0].Chunks.Count = MaxImageSize+1, MaxChunks }},
		{"no chunks", CodeManifest, func(m *Manifest) { m.Images[0].Chunks.Count = 0 }},
		{"too many chunks", CodeManifest, func(m *Manifest) { m.Images[0].Size, m.Images[0].Chunks.Count = MaxImageSize, MaxChunks+1 }},
		{"more chunks than bytes", CodeManifest, func(m *Manifest) { m.Images[0].Chunks.Count = 101 }},
		{"chunks too few to hold it", CodeManifest, func(m *Manifest) { m.Images[0].Size = MaxChunk + 1 }},
		{"notes too long", CodeManifest, func(m *Manifest) { m.Notes = strings.Repeat("x", MaxNotes+1) }},
		{"no app", CodeManifest, func(m *Manifest) { m.App = nil }},
		{"no program", CodeManifest, func(m *Manifest) { m.App.Exec = nil }},
		{"empty program", CodeManifest, func(m *Manifest) { m.App.Exec = []string{""} }},
		{"program outside", CodeManifest, func(m *Manifest) { m.App.Exec = []string{"../camera"} }},
		{"zero byte in a word", CodeManifest, func(m *Manifest) { m.App.Exec = []string{"camera", "a\x00b"} }},
		{"too many words", CodeManifest, func(m *Manifest) { m.App.Exec = slices.Repeat([]string{"x"}, MaxArgs+1) }},
		{"too long words", CodeManifest, func(m *Manifest) { m.App.Exec = []string{"x", strings.Repeat("x", MaxArgBytes)} }},
		{"no streams", CodeManifest, func(m *Manifest) { m.App.Streams = nil }},
		{"too many streams", CodeManifest, func(m *Manifest) { m.App.Streams = streams(MaxStreams + 1) }},
		{"stream twice", CodeManifest, func(m *Manifest) { m.App.Streams = append(m.App.Streams, m.App.Streams[0]) }},
		{"stream with a slash", CodeManifest, func(m *Manifest) { m.App.Streams[0].Name = "../main" }},
		{"codec", CodeCodec, func(m *Manifest) { m.App.Streams[0].Codec = "vp8" }},
		{"no width", CodeManifest, func(m *Manifest) { m.App.Streams[0].Width = 0 }},
		{"height", CodeManifest, func(m *Manifest) { m.App.Streams[0].Height = MaxPicture + 1 }},
		{"profile", CodeManifest, func(m *Manifest) { m.App.Streams[0].Profile = "42e01" }},
		{"stall limit", CodeManifest, func(m *Manifest) { m.App.Streams[0].StallMS = 1 }},
		{"overlap", CodeManifest, func(m *Manifest) { m.App.Overlap = "both" }},
		{"greenlight", CodeManifest, func(m *Manifest) { m.App.Greenlight = "" }},
		{"no start timeout", CodeManifest, func(m *Manifest) { m.App.StartTimeoutMS = 0 }},
		{"no deadline", CodeManifest, func(m *Manifest) { m.App.DeadlineMS = 0 }},
		{"deadline in a year", CodeManifest, func(m *Manifest) { m.App.DeadlineMS = 365 * 24 * 3600 * 1000 }},
		{"soak below 0", CodeManifest, func(m *Manifest) { m.App.SoakMS = -1 }},
		{"soak as long as the deadline", CodeManifest, func(m *Manifest) { m.App.SoakMS = m.App.DeadlineMS }},
		{"start timeout after the deadline", CodeManifest, func(m *Manifest) { m.App.StartTimeoutMS = m.App.DeadlineMS + 1 }},
		{"no stop timeout", CodeManifest, func(m *Manifest) { m.App.StopTimeoutMS = 0 }},
		{"watchdog of 1 ms", CodeManifest, func(m *Manifest) { m.App.WatchdogMS = 1 }},
		{"restarts below 0", CodeManifest, func(m *Manifest) { m.App.RestartMax = -1 }},
		{"left before it came", CodeManifest, func(m *Manifest) { m.App.FallbackForMS = new(int64(-1)) }},
		{"left after more than a day", CodeManifest, func(m *Manifest) { m.App.FallbackForMS = new(int64(24*60*60*1000 + 1)) }},
		{"restarts without a window", CodeManifest, func(m *Manifest) { m.App.RestartWindow = 0 }},
	} {
		m := sampleManifest()
		row.change(&m)
		if err := m.Validate(); Code(err) != row.code {
			t.Errorf("%s: got %v with code %q, want code %q", row.name, err, Code(err), row.code)
		}
	}
}

func streams(n int) []Stream {
	list := make([]Stream, 0, n)
	for _, name := range numbered("s", n) {
		list = append(list, Stream{Name: name, Codec: CodecH264, Width: 320, Height: 180})
	}
	return list
}

func numbered(prefix string, n int) []string {
	list := make([]string, 0, n)
	for i := range n {
		list = append(list, prefix+string(rune('a'+i/26))+string(rune('a'+i%26)))
	}
	return list
}
