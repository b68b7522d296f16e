package bench

import (
	"slices"
	"strings"
	"testing"

	"slipstream/testrig/viewer"
)

// What a server adds is taken run by run, over the floor of the same run.
func TestAddedIsOverTheFloorOfTheSameRun(t *testing.T) {
	t.Parallel()
	of := func(p50 ...float64) (runs []*cost) {
		for _, ms := range p50 {
			runs = append(runs, &cost{reading: reading{WholeP50: ms}})
		}
		return runs
	}
	costs := map[string][]*cost{
		floor: of(0.25, 5, 0.5), // the machine was busy in the second run
		ours:  of(0.5, 6, 0.625),
		peer:  of(1.25, 8, 1),
	}
	costs[peer][2] = nil // it failed
	figures := compare(load{viewer.WHEP, 1}, costs)
	find := func(name string) Figure {
		for _, f := range figures {
			if f.Name == "1 whep: "+name {
				return f
			}
		}
		t.Fatalf("no figure %q", name)
		return Figure{}
	}
	all := find("latency p50, whole frame")
	if all.Value != 0.625 || all.Floor == nil || *all.Floor != 0.5 || len(all.FloorSamples) != 3 || len(all.ReferenceSamples) != 2 || len(all.Targets) != 0 {
		t.Errorf("latency: %+v", all)
	}
	over := find("added latency p50, whole frame")
	if !slices.Equal(over.Samples, []float64{0.25, 1, 0.125}) || over.Value != 0.25 || !slices.Equal(over.ReferenceSamples, []float64{1, 3}) {
		t.Errorf("added: %+v", over)
	}
	if v := over.verdict(); v != met {
		t.Errorf("0.25 ms added: %s", v)
	}
	costs[ours] = of(0.5, 6, 1)
	figures = compare(load{viewer.WHEP, 1}, costs)
	over = find("added latency p50, whole frame")
	if v := over.verdict(); over.Value != 0.5 || v != missed {
		t.Errorf("0.5 ms added: %v, %s", over.Value, v)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		f       Figure
		verdict string
		says    string
	}{
		{Figure{Value: 1}, "", ""},
		{Figure{Value: 0, Targets: []Target{atMost(0)}}, met, "0"},
		{Figure{Value: 1, Targets: []Target{atMost(0)}}, missed, "0"},
		{Figure{Value: 2.5, Unit: "µs", Targets: []Target{shareOf(0.25), atMost(2.7)}}, notJudged, "≤ 1/4 of the reference, ≤ 2.7 µs"},
		{Figure{Value: 2.8, Unit: "µs", Targets: []Target{shareOf(0.25), atMost(2.7)}}, missed, "≤ 2.7 µs"},
		{Figure{Value: 2.5, Reference: "a peer", ReferenceValue: 10, Targets: []Target{shareOf(0.25), atMost(2.7)}}, met, "≤ 1/4 of a peer"},
		{Figure{Value: 2.5, Reference: "a peer", ReferenceValue: 9, Targets: []Target{shareOf(0.25), atMost(2.7)}}, missed, ""},
		{Figure{Value: 70, Unit: "ms", Reference: "a control", ReferenceValue: 35, Targets: []Target{beyond(35)}}, met, "≤ a control + 35 ms"},
		{Figure{Value: 71, Unit: "ms", Reference: "a control", ReferenceValue: 35, Targets: []Target{beyond(35)}}, missed, ""},
	} {
		if v, text := c.f.verdict(), c.f.targets(); v != c.verdict || !strings.Contains(text, c.says) {
			t.Errorf("%+v: %q, %q", c.f, v, text)
		}
	}
}

// Every byte of a frame is in one message, in its order, and can be cut out again.
func TestMessagesCanBeCutApart(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][]int{{7}, {7, 7, 7}, {7, 7, 3}, {3, 7}, {9, 3, 3, 7, 2, 2}, slices.Repeat([]int{9}, 70)} {
		var packets [][]byte
		for i, size := range sizes {
			packets = append(packets, slices.Repeat([]byte{byte(i)}, size))
		}
		var got []int
		for _, m := range messagesOf(packets) {
			size := len(packets[len(got)])
			for rest := m.bytes; len(rest) > 0; rest = rest[min(size, len(rest)):] {
				got = append(got, min(size, len(rest)))
				if rest[0] != byte(len(got)-1) {
					t.Errorf("%v: packet %d begins with %d", sizes, len(got)-1, rest[0])
				}
			}
		}
		if !slices.Equal(got, sizes) {
			t.Errorf("%v is cut into %v", sizes, got)
		}
	}
}
