package client

import (
	"context"
	"net/http"

	"slipstream/adminpanel/view"
)

// Settings are the fleet's rules.
func (c *Client) Settings(ctx context.Context) (s view.Settings, err error) {
	return s, c.get(ctx, "settings", nil, &s)
}

// PutSettings puts others in their place, if nobody has changed them since they had the
// revision that s says.
func (c *Client) PutSettings(ctx context.Context, s view.Settings) (now view.Settings, err error) {
	ask := call{method: http.MethodPut, path: "settings", body: s, rev: s.Rev, out: &now}
	if s.Rev == 0 { // nobody has ever changed them
		ask.header = http.Header{"If-Match": {`"0"`}}
	}
	return now, c.do(ctx, ask)
}
