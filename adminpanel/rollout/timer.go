package rollout

import (
	"container/heap"
	"time"
)

// alarm is a moment at which something is looked at again. A device's is out of date
// when the device waits for another moment by then, and is dropped.
type alarm struct {
	at    time.Time
	about int // a device, or one of the below
}

const (
	aboutWave    = -1 // a soak may be over
	aboutWindows = -2 // one may have opened
)

type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

func (a *alarms) set(at time.Time, about int) { heap.Push(a, alarm{at, about}) }

// due takes the next alarm whose time has come.
func (a *alarms) due(now time.Time) (alarm, bool) {
	if len(*a) == 0 || (*a)[0].at.After(now) {
		return alarm{}, false
	}
	return heap.Pop(a).(alarm), true
}

func (a alarms) next() time.Time {
	if len(a) == 0 {
		return time.Time{}
	}
	return a[0].at
}
