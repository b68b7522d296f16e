package scenarios

import (
	"fmt"
	"strconv"

	"slipstream/testrig/camera"
	"slipstream/testrig/device"
	"slipstream/verify"
)

// What faults come to where no limit stops them: more than a machine has, or than is
// started in the time of a scenario.
const (
	growMB    = 512
	processes = 1024
)

// limitKeys are the limits that a camera can have, and what it may have at most.
var limitKeys = []string{"memory", "pids", "cpu", "max-tasks"}

// faultOf is a fault by its name, but for when it begins.
func faultOf(kind string) camera.Fault {
	f := camera.Fault{Kind: kind}
	switch kind {
	case camera.FaultGrow:
		f.Megabytes = growMB
	case camera.FaultFork:
		f.Processes = processes
	}
	return f
}

// limit gives a camera's release the limits of a scenario.
func limit(r *device.Release, values map[string]string) (err error) {
	if r.App.Limits, err = limitsOf(values); err != nil {
		return err
	}
	if value, given := values["max-tasks"]; given {
		most, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("max-tasks: %w: %w", err, errUsage)
		}
		r.App.Checks = append(r.App.Checks, verify.Check{Name: "tasks", Kind: verify.CheckProcess, Measure: verify.MeasureTasks, Max: &most})
	}
	return nil
}

// limitsOf are those that a scenario gives a camera; nil for none.
func limitsOf(values map[string]string) (limits *verify.Limits, err error) {
	var l verify.Limits
	for key, to := range map[string]*int64{"memory": &l.MemoryMB, "pids": &l.Pids, "cpu": &l.CPUPercent} {
		value, given := values[key]
		if !given {
			continue
		}
		if *to, err = strconv.ParseInt(value, 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", key, err, errUsage)
		}
		limits = &l
	}
	return limits, nil
}
