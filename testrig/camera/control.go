package camera

import (
	"context"

	"slipstream/stream/control"
)

// listen hears what the agent says at SLIPSTREAM_CONTROL until ctx ends: which part the
// camera plays, for people to see, and wishes for key frames. A scene is no sensor, so
// holds are answered and mean nothing.
func (c *Camera) listen(ctx context.Context) {
	if c.env.Control == "" {
		return
	}
	_ = control.Listen(ctx, c.env.Control, control.Handler{ // until ctx ends
		Role: func(role string) {
			c.say(func() string {
				c.part = role
				return ""
			})
		},
		Keyframe: c.wished,
	})
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
