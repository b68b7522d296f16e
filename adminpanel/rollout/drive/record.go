package drive

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"slipstream/adminpanel/fleet"
	"slipstream/adminpanel/rollout"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/view"
	"slipstream/agent/wire"
)

const (
	prefixRollouts = "r/"
	prefixCourses  = "rd/"
)

// record is what the store has of a rollout besides its devices.
type record struct {
	ID        string                 `json:"id"`
	Plan      view.Plan              `json:"plan"`
	Head      rollout.Head           `json:"head"`
	By        string                 `json:"by"`
	Created   time.Time              `json:"created"`
	Needed    int                    `json:"needed"` // approvals
	Approvals []view.Approval        `json:"approvals"`
	Version   string                 `json:"version"` // of the release
	Targets   map[string]wire.Target `json:"targets"` // of the releases that it brings
}

// run is a rollout that the leader has in hand.
type run struct {
	record
	rev      int64 // of the record in the store
	engine   *rollout.Rollout
	selector fleet.Selector
	wake     time.Time
	late     bool // its time has come, and it was tried to start it
	batch    batch
}

// batch is what the engine's steps have brought about since the last commit.
type batch struct {
	head    bool
	courses map[string]bool
	asks    map[string]rollout.Ask
	notes   []string
	lines   []view.AuditLine
}

// step takes an event into the engine and keeps what comes out for the next commit.
func (r *run) step(e rollout.Event) error {
	out, err := r.engine.Step(e)
	if err != nil {
		return err
	}
	r.wake = out.Wake
	b := &r.batch
	b.head = b.head || out.Head
	b.notes = append(b.notes, out.Notes...)
	for _, id := range out.Courses {
		if b.courses == nil {
			b.courses = map[string]bool{}
		}
		b.courses[id] = true
	}
	for _, a := range out.Asks {
		if b.asks == nil {
			b.asks = map[string]rollout.Ask{}
		}
		b.asks[a.Device] = a
	}
	return nil
}

// waits tells whether the rollout has not begun.
func (r *record) waits() bool {
	return r.Head.State == view.RolloutDraft || r.Head.State == view.RolloutApproved
}

// heard tells whether devices are still listened to.
func (r *record) heard(now time.Time) bool {
	return !r.Head.Started.IsZero() && (r.Head.Ended.IsZero() || now.Sub(r.Head.Ended) < keepEnded)
}

func (r *record) op() (store.Op, error) {
	text, err := json.Marshal(r)
	if err == nil && len(text) > store.MaxValue-64<<10 {
		err = refuse("the plan is too long")
	}
	return store.Op{Key: prefixRollouts + r.ID, Value: text}, err
}

func readRecord(item store.Item) (record, error) {
	var r record
	if err := json.Unmarshal(item.Value, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", item.Key, err)
	}
	return r, nil
}

func courseKey(id, device string) string { return prefixCourses + id + "/" + device }

func courseOp(id string, c rollout.Course) (store.Op, error) {
	text, err := json.Marshal(c)
	return store.Op{Key: courseKey(id, c.Device), Value: text}, err
}

func readCourses(ctx context.Context, s store.Store, id string) (courses []rollout.Course, err error) {
	_, err = store.All(ctx, s, courseKey(id, ""), func(item store.Item) error {
		var c rollout.Course
		if err := json.Unmarshal(item.Value, &c); err != nil {
			return fmt.Errorf("read %s: %w", item.Key, err)
		}
		courses = append(courses, c)
		return nil
	})
	return courses, err
}

// changed are the devices to be journaled, in an order that is the same each time.
func (b *batch) changed() []string { return slices.Sorted(maps.Keys(b.courses)) }
