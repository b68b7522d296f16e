package appcontrol

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"slipstream/stream/control"
)

// App is what an app is to be told.
type App struct {
	Name    string
	Role    string
	Streams []string
}

// Desk knows all apps that listen, and has the batons.
type Desk struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	seats  map[string]*seat
	apps   []App
	want   string // who is to have the batons
	batons [2]*baton
}

// baton is something that one app at a time may do.
type baton struct {
	word   string
	holder string // was told to go; "": nobody is known to
	from   string // was told to hold, and is waited for; "": nobody
	timer  *time.Timer
	turn   int             // of the timer
	held   map[string]bool // these were told to hold, by us
}

// New returns a desk without apps.
func New(log *slog.Logger) *Desk {
	d := &Desk{log: log, seats: map[string]*seat{}}
	for i, word := range []string{control.WordCapture, control.WordListen} {
		d.batons[i] = &baton{word: word, held: map[string]bool{}}
	}
	return d
}

// Steer says which apps there are, and who is to have the batons. An app on the way to
// its end is named for as long as it lives.
func (d *Desk) Steer(apps []App, holder string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.apps
	d.apps, d.want = slices.Clone(apps), holder
	for _, app := range apps {
		i := slices.IndexFunc(before, func(b App) bool { return b.Name == app.Name })
		if i < 0 || before[i].Role != app.Role {
			d.say(app.Name, control.WordRole, app.Role)
		}
	}
	d.judge()
}

// Wish tells an app that a key frame of a stream of its is wanted, unless it was told so
// less than [control.WishTime] ago: its encoder is at work on that one.
func (d *Desk) Wish(name, stream string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.seats[name]
	if s == nil || s.conn == nil || !slices.Contains(d.app(name).Streams, stream) {
		return
	}
	if time.Since(s.wished[stream]) >= control.WishTime {
		d.wish(name, stream)
	}
}

func (d *Desk) wish(name, stream string) {
	if s := d.seats[name]; s != nil {
		s.wished[stream] = time.Now()
	}
	d.say(name, control.WordKeyframe, stream)
}

// app is what an app was said to be.
func (d *Desk) app(name string) App {
	for _, app := range d.apps {
		if app.Name == name {
			return app
		}
	}
	return App{Name: name}
}

// Listens says whether an app listens now.
func (d *Desk) Listens(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.listens(name)
}

func (d *Desk) listens(name string) bool {
	s := d.seats[name]
	return s != nil && s.conn != nil
}

// judge brings every baton to where it belongs.
func (d *Desk) judge() {
	for _, b := range d.batons {
		if to := d.target(b); to != b.holder && b.from == "" {
			d.pass(b, to)
		}
	}
}

// target is who should have a baton: whoever is wanted and listens, else whoever has
// it and lives, else whoever listens. An agent that has just begun waits for the one
// that is wanted, since that may have had it all the time.
func (d *Desk) target(b *baton) string {
	switch {
	case d.listens(d.want):
		return d.want
	case d.seats[b.holder] != nil:
		return b.holder
	case d.seats[d.want] != nil:
		return ""
	}
	for _, app := range d.apps {
		if d.listens(app.Name) {
			return app.Name
		}
	}
	return ""
}

// pass begins to take a baton away from who has it, and to give it to another.
func (d *Desk) pass(b *baton, to string) {
	if b.from = b.holder; b.from == "" {
		b.from = d.earlier(b, to)
	}
	if b.from == "" {
		d.give(b, to)
		return
	}
	if d.seats[b.from] == nil { // dead
		d.passed(b)
		return
	}
	d.say(b.from, b.word, control.Hold) // one that does not hear may still be at work
	b.turn++
	turn := b.turn
	b.timer = time.AfterFunc(control.HoldTime, func() { d.late(b, turn) })
}

// earlier is another app of the agent before, which may have been told to go by that
// one; "" if there is none.
func (d *Desk) earlier(b *baton, than string) string {
	for name, s := range d.seats {
		if name != than && s.adopted && !b.held[name] {
			return name
		}
	}
	return ""
}

func (d *Desk) late(b *baton, turn int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.from != "" && b.turn == turn {
		d.log.Warn("app does not answer and is not waited for", "source", b.from, "word", b.word+" "+control.Hold)
		d.passed(b)
	}
}

// passed gives the baton on, to whoever it belongs to by now.
func (d *Desk) passed(b *baton) {
	if b.timer != nil {
		b.timer.Stop()
	}
	b.held[b.from] = true
	b.from, b.holder = "", ""
	d.give(b, d.target(b))
}

func (d *Desk) give(b *baton, to string) {
	if b.holder = to; to == "" {
		return
	}
	d.say(to, b.word, control.Go)
	if b.word == control.WordCapture { // its encoder has seen nothing of what came meanwhile
		for _, stream := range d.app(to).Streams {
			d.wish(to, stream)
		}
	}
}

// joined tells a new connection how things stand.
func (d *Desk) joined(name string) {
	d.say(name, control.WordVersion, control.Version)
	if role := d.app(name).Role; role != "" {
		d.say(name, control.WordRole, role)
	}
	for _, b := range d.batons {
		if b.holder == name && b.from == "" {
			d.say(name, b.word, control.Go)
		} else {
			d.say(name, b.word, control.Hold)
		}
	}
	d.judge()
}

// heard takes an app's answer.
func (d *Desk) heard(name, word, arg string) {
	for _, b := range d.batons {
		if b.word != word || arg != control.Hold {
			continue
		}
		if s := d.seats[name]; s.owes[word] > 0 {
			s.owes[word]--
		}
		if b.from == name && d.seats[name].owes[word] == 0 {
			d.passed(b)
		}
	}
}

// gone is the end of an app's process.
func (d *Desk) gone(name string) {
	for _, b := range d.batons {
		delete(b.held, name)
		switch name {
		case b.from:
			d.passed(b)
		case b.holder:
			b.holder = ""
		}
	}
	d.judge()
}
