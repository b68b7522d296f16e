package fleet_test

import (
	"fmt"
	"testing"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

func TestStates(t *testing.T) {
	t.Parallel()
	staged := []control.Slot{{Name: "b", State: control.StateStaged, Version: "2.0"}}
	for name, test := range map[string]struct {
		link fleet.Link
		want string
	}{
		"no link":                {fleet.Link{Status: &control.Status{Phase: "trial"}}, view.DeviceOffline},
		"no status yet":          {fleet.Link{Online: true}, view.DeviceReady},
		"a stage":                {fleet.Link{Online: true, Status: &control.Status{Phase: "staging", Problems: []string{"x"}}}, view.DeviceStaging},
		"on its way to a trial":  {fleet.Link{Online: true, Status: &control.Status{Phase: "rebooting", Slots: staged}}, view.DeviceTrial},
		"a trial":                {fleet.Link{Online: true, Status: &control.Status{Phase: "trial", Problems: []string{"x"}}}, view.DeviceTrial},
		"a revert":               {fleet.Link{Online: true, Status: &control.Status{Phase: "reverting"}}, view.DeviceReverting},
		"a problem":              {fleet.Link{Online: true, Status: &control.Status{Phase: "staged", Slots: staged, Problems: []string{"x"}}}, view.DeviceProblem},
		"a version that waits":   {fleet.Link{Online: true, Status: &control.Status{Phase: "staged", Slots: staged}}, view.DeviceStaged},
		"a system that waits":    {fleet.Link{Online: true, Status: &control.Status{Phase: "idle", Systems: []control.System{{State: control.StateStaged, Version: "3"}}}}, view.DeviceStaged},
		"nothing":                {fleet.Link{Online: true, Status: &control.Status{Phase: "idle"}}, view.DeviceReady},
		"a phase of the future":  {fleet.Link{Online: true, Status: &control.Status{Phase: "dreaming"}}, view.DeviceReady},
		"words that are no text": {fleet.Link{Online: true, Status: &control.Status{Phase: "idle", Permanent: "1\xff\n"}}, view.DeviceReady},
	} {
		f := fleet.New(fleet.Config{})
		test.link.Seen = time.Now()
		f.Heard("cam", test.link)
		if d := get(f, "cam"); d.State != test.want {
			t.Errorf("%s: %s, want %s", name, d.State, test.want)
		}
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `{}`, `[]`, `{"id":"a/b"}`, `{"id":"cam","colour":"red"}`, `{"id":"cam"} {"id":"cam"}`, `{"id":"cam","zone":"Local"}`, `{"id":"cam","epoch":-1}`,
		`{"id":"cam","tags":["a,b"]}`, `{"id":"cam","tags":["a` + "\x01" + `"]}`,
	} {
		if r, err := fleet.Decode([]byte(text)); err == nil {
			t.Errorf("%s was read as %+v", text, r)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"cam-1","name":"Door","tags":["a"],"zone":"UTC","running":"1.2","lastSeen":"2026-06-01T00:00:00Z","tried":["1.3"]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := fleet.Decode(value)
		if err == nil && r.Check() != nil {
			t.Errorf("%q is read and not allowed", value)
		}
	})
}

// A row says which pictures a device has, but not its sounds; of one that is away nothing.
func TestTheRowsPictures(t *testing.T) {
	t.Parallel()
	const many = 20
	var lots []control.StreamStatus
	for range many {
		lots = append(lots, control.StreamStatus{Name: "x", Width: 1})
	}
	for name, test := range map[string]struct {
		away    bool
		streams []control.StreamStatus
		want    string
	}{
		"two pictures and a sound": {false, []control.StreamStatus{{Name: "mic", Codec: "opus"}, {Name: "main", Codec: "h264"}, {Name: "sub", Codec: "mjpeg"}}, "[main sub]"},
		"one that has begun":       {false, []control.StreamStatus{{Name: "main", Width: 1920}, {Name: "sub"}}, "[main sub]"},
		"away":                     {true, []control.StreamStatus{{Name: "main", Width: 1920}}, "[]"},
		"no streams":               {false, nil, "[]"},
		"more than there are":      {false, lots, "[x x x x x x x x]"},
	} {
		f := fleet.New(fleet.Config{})
		f.Heard("cam", fleet.Link{Online: !test.away, Seen: time.Now(), Status: &control.Status{Phase: "idle", Streams: test.streams}})
		if d := get(f, "cam"); fmt.Sprint(d.Streams) != test.want {
			t.Errorf("%s: %v, want %s", name, d.Streams, test.want)
		}
	}
}
