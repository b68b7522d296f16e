package agent

import (
	"slices"

	"slipstream/stream/orders"
)

// leaveOld is the commit's last step: the old version's app is not needed any
// more, if the new one's runs. If that one ended between hold and settle, the
// forwarder has brought viewers back to the old app, which goes on feeding them
// until they see the new one again.
func (m *machine) leaveOld(old Version) {
	app := &m.Apps[slotIndex(old.Slot)]
	if app.Status == AppAway {
		*app = App{}
	}
	if old.none() || app.Status == AppStopped {
		return
	}
	m.Retiring = old.Slot
	if m.Apps[slotIndex(m.Permanent.Slot)].Status == AppRunning {
		m.retire()
	}
}

// retire ends the old version's app, if one is left.
func (m *machine) retire() {
	slot := m.Retiring
	if slot == "" {
		return
	}
	m.Retiring = ""
	m.stopApp(slot, m.rules(slot).StopTimeout)
}

// onScreen says that viewers of each of its streams see the permanent version's app.
// A stream that another version alone declares is not waited for.
func (m *machine) onScreen(streams []orders.StreamStatus) bool {
	source, own := m.followed(), 0
	for _, s := range streams {
		if names := m.Permanent.Streams; len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		if own++; s.Followed != source {
			return false
		}
	}
	return own > 0 && source != ""
}
