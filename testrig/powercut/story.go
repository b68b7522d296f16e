package powercut

import (
	"fmt"
	"slices"
)

// Permanent is what a device may have found to be permanent.
type Permanent struct {
	System string `json:"system"` // version
	Live   string `json:"live"`
}

func (p Permanent) String() string { return fmt.Sprintf("%s on system %s", p.Live, p.System) }

// Story is what became permanent on a device, one after the other, and what was known of
// that when its disk had been told how much.
type Story struct {
	Permanent []Permanent `json:"permanent"`
	Marks     []Mark      `json:"marks"`
}

// Mark is what is known from so many entries of a log on.
type Mark struct {
	Entries int  `json:"entries"`
	Least   int  `json:"least"`            // index of what was said to be permanent
	Most    int  `json:"most"`             // of what was allowed to become it
	Agreed  bool `json:"agreed,omitempty"` // the boot loader was said to know
}

// after is the mark that holds for a cut.
func (s Story) after(entries int) Mark {
	i, _ := slices.BinarySearchFunc(s.Marks, entries+1, func(m Mark, n int) int { return m.Entries - n })
	if i == 0 {
		return Mark{}
	}
	return s.Marks[i-1]
}

// judge says whether a disk may say that after a cut, and where in the story it is.
func (s Story) judge(m Mark, f Found) (at int, err error) {
	is := Permanent{f.Record.Systems[f.Record.System].Version, f.Record.Live[f.Record.System].Version}
	at = slices.Index(s.Permanent, is)
	switch {
	case at < 0:
		return at, fmt.Errorf("permanent is %v, which it never was", is)
	case at < m.Least:
		return at, fmt.Errorf("permanent is %v, and %v was before the power failed", is, s.Permanent[m.Least])
	case at > m.Most:
		return at, fmt.Errorf("permanent is %v without a greenlight: it had to be %v", is, s.Permanent[m.Most])
	case m.Agreed && f.Boot.Permanent != f.Record.System:
		return at, fmt.Errorf("system slot %s is permanent, and for the boot loader %s is", f.Record.System, f.Boot.Permanent)
	}
	return at, nil
}
