package drive

import (
	"context"

	"slipstream/adminpanel/hub"
)

var _ Asker = (*hub.Hub)(nil)

// Follow tells the driver what a hub's devices say, until ctx ends.
func Follow(ctx context.Context, h *hub.Hub, d *Driver) error {
	watch := h.Watch()
	defer watch.Close()
	for _, dev := range h.Devices() {
		d.Hear(wordOf(dev))
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.Changed():
		}
		for _, id := range watch.Take() {
			if dev, ok := h.Device(id); ok {
				d.Hear(wordOf(dev))
			}
		}
	}
}

func wordOf(d hub.Device) Word {
	return Word{Device: d.ID, Online: d.Online, Status: d.Status, At: d.StatusAt, Report: d.Report}
}
