package api

import (
	"slipstream/adminpanel/auth"
	"slipstream/adminpanel/view"
	"slipstream/agent/control"
)

// actions are a device's buttons, and why they cannot be pressed: by what is known of the
// device. The device itself has the last word.
func actions(c auth.Caller, d *view.Device, s *control.Status) []view.Action {
	list := []view.Action{
		{Name: "stage", Denied: denyStage(d, s)},
		{Name: "activate", Denied: denyActivate(d, s)},
		{Name: "confirm", Denied: denyConfirm(d, s)},
		{Name: "revert", Denied: denyRevert(d, s)},
		{Name: "cancel", Denied: denyCancel(s)},
	}
	for i := range list {
		switch {
		case !c.Can(auth.Operate, d):
			list[i].Denied = "You may look at this device and not operate it."
		case d.Rollout != "":
			list[i].Denied = "It is in rollout " + d.Rollout + ": abort that first, or wait for its end."
		}
	}
	return list
}

func denyStage(_ *view.Device, s *control.Status) string {
	switch {
	case s == nil:
		return ""
	case s.Trial != nil:
		return "A version is on trial: confirm or revert it first."
	case s.Phase == "staging":
		return "Another version is being written."
	}
	return ""
}

func denyActivate(d *view.Device, s *control.Status) string {
	switch {
	case s != nil && s.Trial != nil:
		return "A version is on trial already."
	case s != nil && s.Phase == "staging":
		return "The version is still being written."
	case d.Staged == "":
		return "No version is staged."
	}
	return ""
}

const awayNow = "The device is away: it decides by itself."

func denyConfirm(d *view.Device, s *control.Status) string {
	switch {
	case !d.Online:
		return awayNow
	case s == nil || s.Trial == nil:
		return "No version is on trial."
	case s.Trial.Rehearsal:
		return "This trial is a rehearsal and goes back in any case."
	case s.Trial.Greenlight != "operator":
		return "This version's greenlight is given by " + orElse(s.Trial.Greenlight, "itself") + "."
	case s.Trial.Latched:
		return "The greenlight was given."
	}
	return ""
}

func denyRevert(d *view.Device, s *control.Status) string {
	switch {
	case !d.Online:
		return awayNow
	case s != nil && s.Trial != nil:
		return ""
	case d.Previous == "":
		return "There is no version to go back to."
	}
	return ""
}

func denyCancel(s *control.Status) string {
	if s == nil || s.Phase != "staging" {
		return "Nothing is being written."
	}
	return ""
}
