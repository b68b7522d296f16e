package camera

import (
	"context"

	"slipstream/stream/control"
)

// listen hears what the agent says at SLIPSTREAM_CONTROL until ctx ends: which part the
// camera plays, for people to see, wishes for key frames, and whose turn it is at the
// sensor. Without one holds are answered and mean nothing.
func (c *Camera) listen(ctx context.Context) {
	if c.env.Control == "" {
		return
	}
	handler := control.Handler{
		Role: func(role string) {
			c.say(func() string {
				c.part = role
				return ""
			})
		},
		Keyframe: c.wished,
	}
	if c.sensor != nil {
		handler.Capture = c.sensor.capture
	}
	_ = control.Listen(ctx, c.env.Control, handler) // until ctx ends
}

// say tells of a change, and people what the camera does after it.
func (c *Camera) say(change func() (word string)) {
	c.words.Lock()
	defer c.words.Unlock()
	line := change() + "STATUS=playing version " + c.config.Version
	if c.part != "" {
		line += ", " + c.part
	}
	c.tell(line)
}

// wished passes a wish for a key frame to the stream's line.
func (c *Camera) wished(stream string) {
	for _, l := range c.lines {
		if l.name != stream {
			continue
		}
		select {
		case l.wishes <- struct{}{}:
		default: // one wish is as good as two
		}
	}
}
