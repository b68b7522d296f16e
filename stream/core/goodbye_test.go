package core

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pion/rtcp"
)

// Any sentence makes a compound that others can read, and as much of it as fits.
func TestGoodbyeSaysWhatFits(t *testing.T) {
	c := &Core{poll: &poller{}}
	for n := range 600 {
		why := strings.Repeat("ä€ x", 100)[:n]
		for !utf8.ValidString(why) {
			why = why[:len(why)-1]
		}
		tr := &track{trackState: &trackState{ssrc: 0xfeed0001}, rate: videoRate}
		packets, err := rtcp.Unmarshal(tr.goodbye(c, why, []byte{1, 2, 3, 4})[4:])
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		bye, ok := packets[len(packets)-1].(*rtcp.Goodbye)
		if !ok || len(bye.Sources) != 1 || bye.Sources[0] != 0xfeed0001 || !strings.HasPrefix(why, bye.Reason) || !utf8.ValidString(bye.Reason) {
			t.Fatalf("%d bytes: %+v", n, packets)
		}
		if len(bye.Reason) < min(len(why), maxWhy-3) {
			t.Errorf("of %d bytes only %d were said", len(why), len(bye.Reason))
		}
	}
}
