package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

func sampleManifest() Manifest {
	zeros := hex.EncodeToString(make([]byte, 32))
	return Manifest{
		Format: Format, Product: "gatecam", Hardware: []string{"cam-a1"}, Version: "1.2.3-rc.1+x",
		ReleaseCounter: 7, MinFromCounter: 2, IssuedAt: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
		Images: []Image{{Name: "app.tree", Class: ClassLive, Kind: KindTree, Size: 100, SHA256: zeros,
			Chunks: ChunkIndex{SHA256: zeros, Count: 1}}},
		App: &App{Exec: []string{"camera"}, Streams: []Stream{
			{Name: "main", Codec: CodecH264, Width: 320, Height: 180, Profile: "42e01f", Audio: "mic", Invariants: []Invariant{
				{Name: "rate", Measure: MeasureFrameRate, Against: AgainstPermanent, Min: new(0.9), Max: new(1.1), WindowMS: 1000, Severity: SeverityRequired},
				{Name: "drift", Measure: MeasureDrift, Against: AgainstNothing, Min: new(-12.5), Severity: SeverityWanted},
			}},
			{Name: "mic", Codec: CodecOpus},
		},
			Overlap: OverlapFull, Greenlight: GreenlightApp, StartTimeoutMS: 1000, DeadlineMS: 5000, SoakMS: 1000, StopTimeoutMS: 1000,
			RestartMax: 3, RestartWindow: 60_000},
		Notes: "first line\nsecond",
	}
}

// A refusal must be one; anything else than a refusal from pure parsing is a bug.
func mustBeRefusal(t *testing.T, err error) {
	t.Helper()
	if Code(err) == "" {
		t.Fatalf("not a refusal: %v", err)
	}
}

func FuzzBundle(f *testing.F) {
	good, err := json.Marshal(Bundle{
		MediaType:            MediaType,
		VerificationMaterial: VerificationMaterial{PublicKey: &PublicKey{Hint: "x"}},
		DSSE: &dsse.Envelope{PayloadType: PayloadType, Payload: base64.StdEncoding.EncodeToString([]byte("{}")),
			Signatures: []dsse.Signature{{Sig: "AAAA"}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{}`))
	f.Add(bytes.Replace(good, []byte("AAAA"), []byte("AA-_"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseBundle(packageWords, PayloadType, data)
		if err != nil {
			mustBeRefusal(t, err)
			return
		}
		// What we judged must be what the dsse library will judge.
		body, err := e.dsse.DecodeB64Payload()
		if err != nil || !bytes.Equal(body, e.payload) || len(e.dsse.Signatures) != 1 {
			t.Fatalf("accepted an envelope that another decoder reads otherwise: %v", err)
		}
	})
}

func FuzzStatement(f *testing.F) {
	good, err := json.Marshal(sampleManifest().Statement())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"_type":"` + StatementType + `","predicateType":"` + PredicateType + `","predicate":{"format":2}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseStatement(data)
		if err != nil {
			mustBeRefusal(t, err)
			return
		}
		again, err := json.Marshal(m.Statement())
		if err != nil {
			t.Fatal(err)
		}
		m2, err := parseStatement(again)
		if err != nil {
			t.Fatalf("accepted %s, refused it written again: %v", data, err)
		}
		if diff := cmp.Diff(m, m2); diff != "" {
			t.Fatalf("changed by writing it again:\n%s", diff)
		}
	})
}

func FuzzHeader(f *testing.F) {
	good := Header(HeadName, 1000)
	f.Add(good[:])
	f.Add(make([]byte, Record))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h [Record]byte
		copy(h[:], data)
		size, err := headSize(&h, HeadName, MaxBundle)
		if err != nil {
			mustBeRefusal(t, err)
			return
		}
		if size < 1 || size > MaxBundle || Header(HeadName, size) != h {
			t.Fatalf("accepted a header of size %d that is not the only one", size)
		}
	})
}

func FuzzChunkIndex(f *testing.F) {
	f.Add(AppendIndex(nil, Chunk{Length: 100}), int64(100))
	f.Add(AppendIndex(AppendIndex(nil, Chunk{Length: MaxChunk}), Chunk{Length: 1}), int64(MaxChunk+1))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		sum := sha256.Sum256(data)
		image := Image{Name: "app.tree", Size: size,
			Chunks: ChunkIndex{Count: min(len(data)/chunkEntry, MaxChunks), SHA256: hex.EncodeToString(sum[:])}}
		chunks, err := readIndex(bytes.NewReader(data), image)
		if err != nil {
			mustBeRefusal(t, err)
			return
		}
		next := int64(0)
		for _, c := range chunks {
			if c.Offset != next || c.Length == 0 || c.Length > MaxChunk {
				t.Fatalf("accepted the chunk %+v at %d", c, next)
			}
			next += int64(c.Length)
		}
		if next != size {
			t.Fatalf("accepted chunks of %d bytes for an image of %d", next, size)
		}
	})
}

func FuzzOrder(f *testing.F) {
	o := Order{Format: OrderFormat, Devices: []string{"cam-7"}, Package: hex.EncodeToString(make([]byte, 32)), Sequence: 5,
		IssuedAt: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Expires: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)}
	for _, change := range []func(*Order){
		func(*Order) {}, func(o *Order) { o.Devices, o.All = nil, true }, func(o *Order) { o.Devices, o.Hardware = nil, []string{"cam-a1"} },
		func(o *Order) { o.Format = 2 },
	} {
		given := o
		change(&given)
		text, err := json.Marshal(given.Statement())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parseOrder(data)
		if err != nil {
			mustBeRefusal(t, err)
			return
		}
		again, err := json.Marshal(o.Statement())
		if err != nil {
			t.Fatal(err)
		}
		o2, err := parseOrder(again)
		if err != nil {
			t.Fatalf("accepted %s, refused it written again: %v", data, err)
		}
		o.Digest, o2.Digest = "", ""
		if diff := cmp.Diff(o, o2); diff != "" {
			t.Fatalf("changed by writing it again:\n%s", diff)
		}
	})
}
