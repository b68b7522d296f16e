package main

import (
	"slices"
	"testing"

	"slipstream/agent/control"
)

func course(values ...float64) (out []control.Sample) {
	for i, v := range values {
		out = append(out, control.Sample{AfterMS: int64(i) * 1000, Value: v})
	}
	return out
}

func TestCourse(t *testing.T) {
	screen, pipe := style{width: 80, glyphs: glyphs{sparks: "_-=#"}}, style{}
	many := make([]float64, 200)
	many[77] = 9 // must not get lost between those that are left out
	for _, test := range []struct {
		name  string
		style style
		v     control.Verdict
		want  []string
	}{
		{"one value is no course", screen, control.Verdict{Samples: course(1)}, nil},
		{"drawn", screen, control.Verdict{Max: new(2.0), Samples: course(0, 1, 2, 4)}, []string{"_-=#  0 to 4 over 3 s", "   !"}},
		{"always the same", screen, control.Verdict{Min: new(2.0), Samples: course(1, 1)}, []string{"==  1 to 1 over 1 s", "!!"}},
		{"within its bounds", screen, control.Verdict{Max: new(9.0), Samples: course(0, 1)}, []string{"_#  0 to 1 over 1 s"}},
		{"in numbers", pipe, control.Verdict{Samples: course(1, 2.5)}, []string{"values: 1 2.5 (over 1 s)"}},
		{"too many numbers", pipe, control.Verdict{Samples: course(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)},
			[]string{"values: 0 1 2 3 4 5 … 8 9 10 11 12 13 (over 13 s)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &printer{style: test.style}
			if got := p.course(test.v); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	kept := squeeze(control.Verdict{Max: new(5.0), Samples: course(many...)}, courseWidth)
	if len(kept) != courseWidth || !slices.ContainsFunc(kept, func(s control.Sample) bool { return s.Value == 9 }) {
		t.Errorf("of 200 values %d are drawn, and the worst is among them: no", len(kept))
	}
}
