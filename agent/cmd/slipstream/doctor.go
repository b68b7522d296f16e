package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"slipstream/agent/config"
	"slipstream/agent/control"
	"slipstream/agent/doctor"
)

// diagnosis is what doctor found.
type diagnosis struct {
	control.Result
	Findings []doctor.Finding `json:"findings"`
}

func (c *cli) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do, and what each missing thing would bring",
		Long: `Look at the kernel, the hardware, the device's files and its agent. Each line says ok,
degraded or missing in one sentence. What is marked with ! the device cannot do without;
everything else only makes it better. The answers hold for the user that asks: run it as
the agent runs.

Exit status: 0 nothing that is needed is missing, 1 something is.`,
		Args: args(cobra.NoArgs, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.doctor(cmd.Context()) },
	}
}

func (c *cli) doctor(ctx context.Context) error {
	var found []doctor.Finding
	cfg, err := c.config()
	if err == nil {
		found = append(found, doctor.Finding{Name: "configuration", State: doctor.OK, Needed: true, Text: c.configFile + " is right"})
	} else {
		cfg = config.Default()
		found = append(found, doctor.Finding{Name: "configuration", State: doctor.Missing, Needed: true, Text: oneLine(err)})
	}
	socket := c.socketPath
	if socket == "" {
		socket = cfg.Socket()
	}
	agent := asking{c, control.Dial(socket)}
	defer agent.Close()
	found = append(found, doctor.Look(ctx, cfg, agent)...)
	return c.showFindings(found)
}

// asking adds what to do to an agent's error.
type asking struct {
	c *cli
	*control.Client
}

func (a asking) Status(ctx context.Context) (control.Status, error) {
	s, err := a.Client.Status(ctx)
	return s, a.c.nextStep(err)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (c *cli) showFindings(found []doctor.Finding) error {
	r := control.Result{Message: "nothing that is needed is missing"}
	if doctor.Ill(found) {
		r = control.Result{Exit: control.ExitError, Message: "something that is needed is missing: see the lines with !"}
	}
	if c.json {
		if err := c.printJSON(diagnosis{r, found}); err != nil {
			return err
		}
		return code(r)
	}
	p := c.printer()
	width := 0
	for _, f := range found {
		width = max(width, len(f.Name))
	}
	for _, f := range found {
		mark := " "
		if f.Needed && f.State == doctor.Missing {
			mark = "!"
		}
		p.para(mark+" "+pad(f.State, 8)+"  "+pad(f.Name, width)+"  ", clean(f.Text))
	}
	p.gap()
	p.para("", r.Message)
	if _, err := io.WriteString(c.out, p.b.String()); err != nil {
		return err
	}
	return code(r)
}
