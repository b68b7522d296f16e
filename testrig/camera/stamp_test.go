package camera_test

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slipstream/testrig/camera"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestStampSurvivesItsSEI(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Small numbers give long runs of zeros, which need emulation prevention.
		want := camera.Stamp{
			Version:  rapid.StringMatching(`[0-9.]{1,64}`).Draw(t, "version"),
			Counter:  rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 1<<18)).Draw(t, "counter"),
			Captured: time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "captured")),
			Count:    rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 1<<18)).Draw(t, "count"),
			Given:    camera.State{Count: rapid.Uint64().Draw(t, "given"), Counter: rapid.Uint64Range(0, 1<<18).Draw(t, "at")},
		}
		nalu := want.SEI()
		if bytes.Contains(nalu, []byte{0, 0, 1}) || bytes.Contains(nalu, []byte{0, 0, 0}) {
			t.Fatalf("start code inside %x", nalu)
		}
		if got, ok := camera.ParseStamp(nalu); !ok || got != want {
			t.Fatalf("got %v %t, want %v", got, ok, want)
		}
	})
}

func FuzzParseStamp(f *testing.F) {
	nalu := camera.Stamp{Version: "1.0", Counter: 7, Captured: 1}.SEI()
	f.Add(nalu)
	f.Add(nalu[:len(nalu)-4])
	f.Add([]byte{6, 5, 255})
	f.Add([]byte{0x65, 1, 2})
	f.Fuzz(func(_ *testing.T, nalu []byte) { camera.ParseStamp(nalu) })
}

func TestFrameTimesAndNumbersAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(1, 1<<32).Draw(t, "n")
		at := camera.FrameTime(n)
		if camera.FrameAt(at) != n || camera.FrameAt(at-1) != n-1 {
			t.Fatalf("frame %d at %v, but then it is frame %d and just before %d", n, at, camera.FrameAt(at), camera.FrameAt(at-1))
		}
	})
}
