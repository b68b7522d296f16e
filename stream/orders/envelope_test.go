package orders_test

import (
	"testing"

	"slipstream/stream/orders"
)

func TestLeavesTheEnvelope(t *testing.T) {
	t.Parallel()
	before := orders.Stream{Name: "main", Codec: orders.H264, Width: 1280, Height: 720, Profile: "4d001f"}
	with := func(change func(*orders.Stream)) orders.Stream {
		s := before
		change(&s)
		return s
	}
	for name, test := range map[string]struct {
		before, now orders.Stream
		want        string
	}{
		"the same":               {before, before, ""},
		"a lesser profile":       {before, with(func(s *orders.Stream) { s.Profile = "42e01f" }), ""},
		"a lower level":          {before, with(func(s *orders.Stream) { s.Profile = "4d001e" }), ""},
		"a smaller picture":      {before, with(func(s *orders.Stream) { s.Width, s.Height = 640, 360 }), ""},
		"nothing was declared":   {orders.Stream{Codec: orders.H264}, before, ""},
		"another codec":          {before, with(func(s *orders.Stream) { s.Codec, s.Profile = orders.H265, "" }), "H265 and not H264"},
		"a greater profile":      {before, with(func(s *orders.Stream) { s.Profile = "64001f" }), "of the profile-level-id 64001f and not within the profile-level-id 4d001f"},
		"an unrelated profile":   {before, with(func(s *orders.Stream) { s.Profile = "f4001f" }), "of the profile-level-id f4001f and not within the profile-level-id 4d001f"},
		"a higher level":         {before, with(func(s *orders.Stream) { s.Profile = "4d0028" }), "of the profile-level-id 4d0028 and not within the profile-level-id 4d001f"},
		"no profile any more":    {before, with(func(s *orders.Stream) { s.Profile = "" }), "of any profile and not within the profile-level-id 4d001f"},
		"a wider picture":        {before, with(func(s *orders.Stream) { s.Width = 1920 }), "1920x720 and not within 1280x720"},
		"a picture of any size":  {before, with(func(s *orders.Stream) { s.Width, s.Height = 0, 0 }), "0x0 and not within 1280x720"},
		"sound of another codec": {orders.Stream{Codec: orders.PCMU}, orders.Stream{Codec: orders.Opus}, "OPUS and not PCMU"},
	} {
		if got := test.now.Leaves(test.before); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
