package agent

import (
	"context"
	"path/filepath"
	"time"

	"slipstream/agent/supervise"
)

// Names of the processes that are not apps.
const (
	forwarderName = "forward"
	gatewayName   = "gateway"
)

// startDaemons starts the forwarder and the gateway, or adopts them. An adopted
// forwarder is old if another program is installed since.
func (a *Agent) startDaemons(ctx context.Context) (adopted, old bool) {
	a.forwarding = a.daemon(forwarderName, "--run", a.cfg.Run)
	a.forwarding.lost = func(detail string) { a.post(ForwarderLost{detail}) }
	a.forwarding.spec.FDStore = true
	a.forwarding.spec.NotifySocket = filepath.Join(a.cfg.Run, "notify", forwarderName+".sock")
	var living []*supervise.Process
	for _, name := range instances(forwarderName) {
		if p, found := a.adoptProcess(name); found {
			path, err := a.binary(forwarderName)
			living, adopted = append(living, p), true
			old = err == nil && outdated(p, path)
		}
	}
	old = old && len(living) == 1 // else one is being replaced already
	a.wg.Go(func() { a.forwarding.run(ctx, living...) })
	a.wg.Go(func() { a.forward.run(ctx) })

	gw := a.cfg.Gateway
	if !gw.On() {
		a.wg.Go(func() { a.post(GatewaySeen{}) })
		return adopted, old
	}
	gateway := a.daemon(gatewayName, gatewayArgs(a.cfg.Run, gw)...)
	gateway.spec.Env = append(supervise.Environ(), gatewaySecretEnv+"="+a.secret)
	gateway.down = func(why string) {
		a.setDown(gatewayName, why)
		a.post(GatewaySeen{why})
	}
	running, _ := a.adoptProcess(gatewayName)
	a.wg.Go(func() {
		if path, err := a.binary(gatewayName); running != nil && err == nil && outdated(running, path) {
			a.log.Info("gateway of another version ended; established viewers go on", "pid", running.PID())
			running.Kill()
			running = nil
		}
		gateway.run(ctx, running)
	})
	return adopted, old
}

func (a *Agent) daemon(name string, args ...string) *daemon {
	return &daemon{
		name: name, spec: supervise.Spec{Name: name, Args: args, Dir: "/"}, find: a.binary, sup: a.sup, log: a.log,
		lost: func(string) {}, down: func(why string) { a.setDown(name, why) },
		kill: make(chan struct{}, 1), swap: make(chan succession),
		within: succeedWithin(time.Duration(a.cfg.Stream.StallMS) * time.Millisecond),
	}
}
