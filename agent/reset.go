package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"slipstream/agent/control"
	"slipstream/verify"
)

// cameWith is a device as its factory's version is judged by it. That one may be older
// than what runs, as nothing else may: it lies in the system's image, where only the
// configuration says, and only somebody at the device can ask for it. Its signature, its
// product and hardware, what the vendor's root says today and the security epoch count
// as always, and the floors stay: whatever is installed afterwards must be above them. It
// needs no fleet's order, because it was there before the fleet.
func cameWith(device verify.Device) verify.Device {
	device.FloorCounter, device.FloorDigest, device.Fleet = 0, "", nil
	return device
}

// Reset implements [control.Technician]. The version is tried like any other, and what
// runs now comes back if it does not hold.
func (a *Agent) Reset(ctx context.Context, r control.ResetRequest) control.Result {
	if _, err := os.Stat(a.cfg.Factory); a.cfg.Factory == "" || errors.Is(err, fs.ErrNotExist) {
		return result(control.ExitRefused, CodeNoFactory, fmt.Sprintf(
			"this device has kept no factory package (%s); put it there, or name it with factory in the configuration", a.cfg.Factory))
	}
	staged := a.stage(ctx, control.StageRequest{Path: a.cfg.Factory}, true)
	if staged.Exit != control.ExitDone && staged.Code != control.CodeAlreadyStaged {
		return staged
	}
	return a.Activate(ctx, control.ActivateRequest{Wait: r.Wait})
}
