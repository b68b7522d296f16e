package powercut

import (
	"bytes"
	"testing"
)

func filled(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n*Sector) }

// What chance leaves of a cache is what a disk may leave: each sector is as one of the
// writes to it made it, or as it was; and chance leaves every one of these.
func TestFates(t *testing.T) {
	t.Parallel()
	var c cache
	c.add(0, filled(1, 4))
	c.add(2*Sector, filled(2, 4))
	seen := map[int64]map[byte]bool{}
	for cut := range 200 {
		s := fateSome.pick(&c, random(1, cut))
		for n := range int64(6) {
			if seen[n] == nil {
				seen[n] = map[byte]bool{}
			}
			if data := s[n]; data == nil {
				seen[n][0] = true
			} else {
				seen[n][data[0]] = true
			}
		}
		if len(s) > 6 {
			t.Fatalf("%d sectors", len(s))
		}
	}
	for n, want := range map[int64]string{0: "\x00\x01", 3: "\x00\x01\x02", 5: "\x00\x02"} {
		for _, b := range []byte{0, 1, 2} {
			if seen[n][b] != bytes.Contains([]byte(want), []byte{b}) {
				t.Errorf("sector %d: %d is seen: %v", n, b, seen[n][b])
			}
		}
	}
	again := fateSome.pick(&c, random(1, 7))
	if first := fateSome.pick(&c, random(1, 7)); len(first) != len(again) {
		t.Error("a seed does not repeat what was chosen")
	}
	all := fateAll.pick(&c, nil)
	if len(all) != 6 || all[3][0] != 2 || all[1][0] != 1 {
		t.Errorf("all kept: %d sectors", len(all))
	}
	torn := fateTorn.pick(&c, random(1, 1))
	if len(torn) < 4 || len(torn) > 6 || torn[0][0] != 1 {
		t.Errorf("the last torn: %d sectors", len(torn))
	}
	if last := fateLast.pick(&c, nil); len(last) != 4 || last[2][0] != 2 {
		t.Errorf("only the last: %d sectors", len(last))
	}
}

// What is certain takes the place of what was not, and of nothing else.
func TestForget(t *testing.T) {
	t.Parallel()
	var c cache
	c.add(0, filled(1, 4))
	c.add(8*Sector, filled(2, 1))
	over := sectors{}
	over.put(write{Sector, filled(3, 1)}, 1, nil)
	over.put(write{8 * Sector, filled(3, 1)}, 1, nil)
	c.forget(over)
	left := fateAll.pick(&c, nil)
	if len(left) != 3 || left[1] != nil || left[8] != nil || left[0][0] != 1 || left[3][0] != 1 {
		t.Errorf("%d sectors are left", len(left))
	}
}

// Where a file system needs two sectors to be written as one they are.
func TestUnits(t *testing.T) {
	t.Parallel()
	c := cache{coarse: part{4 * Sector, 1 << 20}}
	c.add(0, filled(1, 4))
	c.add(4*Sector, filled(2, 64))
	halves := 0
	for cut := range 50 {
		for _, f := range []fate{fateSome, fateTorn} {
			s := f.pick(&c, random(2, cut))
			for n := int64(4); n < 68; n += 2 {
				if (s[n] == nil) != (s[n+1] == nil) {
					t.Fatalf("cut %d, %s: sector %d is torn from the next", cut, f.Name, n)
				}
			}
			if (s[0] == nil) != (s[1] == nil) {
				halves++
			}
		}
	}
	if halves == 0 {
		t.Error("nothing was torn elsewhere")
	}
}
