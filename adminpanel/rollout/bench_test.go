package rollout_test

import (
	"container/heap"
	"fmt"
	"syscall"
	"testing"
	"time"

	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/view"
)

// due is what a simulated device will say.
type due struct {
	at time.Time
	e  rollout.Seen
}

type agenda []due

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(due)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// BenchmarkFleet takes a whole fleet through a rollout of five waves. Devices take half a
// minute to stage and a minute of trial; one of 500 reverts.
func BenchmarkFleet(b *testing.B) {
	const devices = 100_000
	p := view.Plan{
		Release: "new", Waves: []view.Wave{{Count: 10}, {Count: 100}, {Count: 1000}, {Percent: 10}, {}},
		MaxUnavailable: 2000, MaxStaging: 5000, SuccessPercent: 95, FailPercent: 2, TrialDeadlineMS: 5 * minute, OnFailure: "halt", Activation: "waves",
	}
	var ids []string
	for i := range devices {
		ids = append(ids, fmt.Sprintf("cam-%06d", i))
	}
	waves := rollout.Divide(p.Waves, ids, nil)
	members := make([]rollout.Member, devices)
	for i, id := range ids {
		members[i] = rollout.Member{Device: id, Wave: waves[id], Steps: []string{"new"}, Online: true}
	}
	spent := cpu(b)
	for b.Loop() {
		fleet(b, p, members)
	}
	b.ReportMetric((cpu(b)-spent).Seconds()/float64(b.N), "cpu-s/op")
}

// cpu is what this process has used of the processors, whatever others did meanwhile.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func fleet(b *testing.B, p view.Plan, members []rollout.Member) {
	r, err := rollout.New(p, members)
	if err != nil {
		b.Fatal(err)
	}
	var todo agenda
	n, events := 0, 0
	take := func(now time.Time, e rollout.Event) {
		events++
		out, err := r.Step(e)
		if err != nil {
			b.Fatal(err)
		}
		for _, a := range out.Asks {
			say := func(after time.Duration, what string) {
				at := now.Add(after)
				heap.Push(&todo, due{at, rollout.Seen{At: at, Device: a.Device, Epoch: a.Epoch, What: what, Release: a.Release}})
			}
			switch a.Want {
			case rollout.WantStage:
				say(30*time.Second, rollout.SeenStaged)
			case rollout.WantActivate:
				n++
				say(time.Second, rollout.SeenTrial)
				end := rollout.SeenDone
				if n%500 == 499 {
					end = rollout.SeenReverted
				}
				say(time.Minute, end)
			}
		}
	}
	now := noon
	take(now, rollout.Start{At: now})
	for len(todo) > 0 {
		d := heap.Pop(&todo).(due)
		now = d.at
		take(now, d.e)
	}
	v := r.Show(now)
	if v.State != view.RolloutCompleted {
		b.Fatalf("%s: %s %+v", v.State, v.Why, v.Total)
	}
	b.ReportMetric(float64(events), "events")
}
