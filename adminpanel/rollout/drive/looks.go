package drive

import (
	"container/heap"
	"time"
)

// looks are moments at which a device is another thing without saying a word: its soak is
// over, and it waits for a greenlight.
type looks struct {
	heap lookHeap
	at   map[string]time.Time // the earliest of each device
}

type look struct {
	at     time.Time
	device string
}

type lookHeap []look

func (h lookHeap) Len() int           { return len(h) }
func (h lookHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h lookHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lookHeap) Push(x any)        { *h = append(*h, x.(look)) }
func (h *lookHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// add keeps one moment of a device, the newest that was named.
func (l *looks) add(at time.Time, device string) {
	if l.at == nil {
		l.at = map[string]time.Time{}
	}
	if l.at[device].Equal(at) {
		return
	}
	l.at[device] = at
	heap.Push(&l.heap, look{at, device})
}

func (l *looks) due(now time.Time) (devices []string) {
	for len(l.heap) > 0 && !l.heap[0].at.After(now) {
		due := heap.Pop(&l.heap).(look)
		if l.at[due.device].Equal(due.at) {
			delete(l.at, due.device)
			devices = append(devices, due.device)
		}
	}
	return devices
}

func (l *looks) next() time.Time {
	if len(l.heap) == 0 {
		return time.Time{}
	}
	return l.heap[0].at
}
