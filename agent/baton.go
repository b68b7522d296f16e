package agent

import (
	"path/filepath"

	"slipstream/agent/appcontrol"
	"slipstream/agent/supervise"
	"slipstream/stream/orders"
)

// Roles that only SLIPSTREAM_CONTROL tells; the others are those of SLIPSTREAM_ROLE.
const roleStandby = "standby"

// controlSocket is where an app may listen.
func (a *Agent) controlSocket(source orders.SourceID) string {
	return filepath.Join(a.cfg.Run, "control", string(source)+".sock")
}

// seat opens an app's control socket; nil if that fails: an app works without.
func (a *Agent) seat(source orders.SourceID) *appcontrol.Seat {
	s, err := a.desk.Seat(string(source), a.controlSocket(source))
	if err != nil {
		a.log.Error("app runs without a control socket", "source", source, "reason", err)
		return nil
	}
	return s
}

// attend begins to listen to an app that runs.
func attend(s *appcontrol.Seat, p *supervise.Process, adopted bool) {
	if s != nil {
		s.Serve(p.Owns, adopted)
	}
}

// keyWished passes the forwarder's wish for a key frame on to an app that publishes by
// its ingest; by its own socket an app hears of it sooner.
func (a *Agent) keyWished(w orders.KeyWish) { a.desk.Wish(string(w.Source), w.Stream) }

// vacate says that an app's process has ended.
func vacate(s *appcontrol.Seat) {
	if s != nil {
		s.Gone()
	}
}

// steering says what each app is to be told, and who takes from the sensor: during a
// trial the new version from the moment it is ready, and the old one again as soon as
// the trial is to end.
func (s *State) steering() (apps []appcontrol.App, holder string) {
	on := s.Permanent.Slot
	t := s.Trial
	if t.under() {
		on = t.From.Slot
		switch s.Phase {
		case PhaseStarting:
			if t.From.none() || s.Apps[slotIndex(t.To.Slot)].Status == AppRunning {
				holder = string(t.Source)
			}
		case PhaseReverting:
		default:
			on, holder = t.To.Slot, string(t.Source)
		}
	}
	for i, app := range s.Apps {
		switch app.Status {
		case AppStopped, AppBackOff, AppAway:
			continue
		}
		role := roleStandby
		switch slot := slotNames[i]; {
		case t.under() && slot == t.To.Slot:
			role = RoleTrial
		case slot == on:
			role = RolePermanent
			if holder == "" {
				holder = string(app.Source)
			}
		}
		apps = append(apps, appcontrol.App{Name: string(app.Source), Role: role, Streams: s.version(slotNames[i]).Streams})
	}
	return apps, holder
}
