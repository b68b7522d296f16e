package scenarios

import (
	"testing"

	"slipstream/testrig/camera"
)

// A version goes on from what it was given, and one that comes back has lost nothing.
func TestCounted(t *testing.T) {
	t.Parallel()
	one := func(counter, count uint64) camera.Stamp {
		return camera.Stamp{Version: "1.0", Counter: counter, Count: count}
	}
	two := func(counter, count, given, at uint64) camera.Stamp {
		return camera.Stamp{Version: "2.0", Counter: counter, Count: count, Given: camera.State{Count: given, Counter: at}}
	}
	for name, row := range map[string]struct {
		stamps []camera.Stamp
		wrong  bool
	}{
		"there and back":       {stamps: []camera.Stamp{one(100, 10), one(110, 20), two(120, 21, 20, 110), two(121, 22, 20, 110), one(122, 32)}},
		"begun at nothing":     {stamps: []camera.Stamp{one(100, 10), two(120, 1, 0, 0)}, wrong: true},
		"given something else": {stamps: []camera.Stamp{one(100, 10), two(120, 21, 19, 110)}, wrong: true},
		"back with less":       {stamps: []camera.Stamp{one(110, 20), two(120, 21, 20, 110), one(122, 31)}, wrong: true},
		"not counted":          {stamps: []camera.Stamp{one(100, 10), one(110, 19), two(120, 21, 20, 110)}, wrong: true},
		"no hand-over":         {stamps: []camera.Stamp{one(100, 10)}, wrong: true},
	} {
		if said, err := countChain(row.stamps); (err != nil) != row.wrong {
			t.Errorf("%s: %q %v", name, said, err)
		}
	}
}
