package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/stream/viewers"
)

// viewerPaths are ways to watch a stream, whose name the viewer fills in.
type viewerPaths struct {
	RTSP  string `json:"rtsp,omitempty"`
	RTSPS string `json:"rtsps,omitempty"`
	WHEP  string `json:"whep,omitempty"` // with the secret as bearer token
}

// newViewer is what is said once about a viewer.
type newViewer struct {
	control.Result
	Name   string      `json:"name"`
	Secret string      `json:"secret"`
	Watch  viewerPaths `json:"watch"`
}

func (c *cli) viewerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "viewer",
		Short: "Say who may watch this device",
		Long: `Add, list and remove those who may watch this device: they stand in the file that
gateway.viewers names. The gateway sees a change at once; it needs no restart and
no agent. Whoever watches already goes on.

Exit status: 0 done, 1 error, 2 nothing to do.`,
		Args: args(cobra.NoArgs, "add, list or remove"),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "add NAME", Short: "Let a viewer in, and print its secret once",
			Args: args(cobra.ExactArgs(1), "one name"),
			RunE: func(_ *cobra.Command, given []string) error { return c.addViewer(given[0]) },
		},
		&cobra.Command{
			Use: "list", Short: "Name those who may watch",
			Args: args(cobra.NoArgs, "no arguments"),
			RunE: func(*cobra.Command, []string) error { return c.listViewers() },
		},
		&cobra.Command{
			Use: "remove NAME", Short: "Let a viewer in no more",
			Args: args(cobra.ExactArgs(1), "one name"),
			RunE: func(_ *cobra.Command, given []string) error { return c.removeViewer(given[0]) },
		},
	)
	return cmd
}

// viewersFile is the file that the gateway reads.
func (c *cli) viewersFile() (config.Gateway, error) {
	cfg, err := c.config()
	if err == nil && cfg.Gateway.Viewers == "" {
		err = errors.New("gateway.viewers is not set in the configuration; it names the file of those who may watch")
	}
	return cfg.Gateway, err
}

func (c *cli) addViewer(name string) error {
	gw, err := c.viewersFile()
	if err != nil {
		return err
	}
	secret, err := viewers.Add(gw.Viewers, name)
	if errors.Is(err, viewers.ErrKnown) {
		return c.finish(control.Result{Exit: control.ExitNothing, Message: name + ": " + err.Error()})
	}
	if err != nil {
		return fmt.Errorf("add a viewer: %w", err)
	}
	v := newViewer{control.Result{Exit: control.ExitDone, Message: name + " may watch"}, name, secret, paths(gw, name, secret)}
	if c.json {
		return c.printJSON(v)
	}
	c.say(c.out, v.Message+"; the secret is shown this once:")
	fmt.Fprintln(c.out, " ", secret)
	for _, line := range []struct{ url, how string }{
		{v.Watch.RTSP, ""}, {v.Watch.RTSPS, ""}, {v.Watch.WHEP, " with the header Authorization: Bearer " + secret},
	} {
		if line.url != "" {
			fmt.Fprintln(c.out, " ", line.url+line.how)
		}
	}
	if gw.Public {
		c.next("set gateway.public = false; as it is, everybody may watch")
	}
	return nil
}

// paths are the URLs as a viewer would type them.
func paths(gw config.Gateway, name, secret string) (p viewerPaths) {
	who := name + ":" + secret + "@"
	if gw.RTSP != "" {
		p.RTSP = "rtsp://" + who + reachable(gw, gw.RTSP) + "/STREAM"
	}
	if gw.RTSPS != "" {
		p.RTSPS = "rtsps://" + who + reachable(gw, gw.RTSPS) + "/STREAM"
	}
	if gw.HTTP != "" {
		p.WHEP = "http://" + reachable(gw, gw.HTTP) + "/whep/STREAM"
	}
	return p
}

// reachable is an address as viewers know it. One of the whole machine says
// nothing; then the viewer has to know.
func reachable(gw config.Gateway, addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip, err := netip.ParseAddr(host)
	if host != "" && (err != nil || !ip.IsUnspecified()) {
		return addr
	}
	if len(gw.Advertise) > 0 {
		return net.JoinHostPort(gw.Advertise[0], port)
	}
	return net.JoinHostPort("DEVICE", port)
}

func (c *cli) listViewers() error {
	gw, err := c.viewersFile()
	if err != nil {
		return err
	}
	all, err := viewers.Load(gw.Viewers)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list the viewers: %w", err)
	}
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = v.Name
	}
	if c.json {
		return c.printJSON(names)
	}
	if len(names) == 0 {
		_, err := fmt.Fprintln(c.out, "no viewers yet; see: slipstream viewer add --help")
		return err
	}
	for _, name := range names {
		fmt.Fprintln(c.out, name)
	}
	return nil
}

func (c *cli) removeViewer(name string) error {
	gw, err := c.viewersFile()
	if err != nil {
		return err
	}
	switch err := viewers.Remove(gw.Viewers, name); {
	case errors.Is(err, viewers.ErrUnknown):
		return c.finish(control.Result{Exit: control.ExitNothing, Message: fmt.Sprintf("%q: %v", clean(name), err)})
	case err != nil:
		return fmt.Errorf("remove a viewer: %w", err)
	}
	return c.finish(control.Result{Exit: control.ExitDone, Message: name + " may watch no more; a stream that plays goes on"})
}
