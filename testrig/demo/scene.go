package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"slipstream/agent/control"
	"slipstream/testrig/device"
	"slipstream/testrig/viewer"
)

// Names of the two devices. No update touches the second one.
const (
	camName     = "cam-1"
	controlName = "control"
)

// joinTimeout bounds the wait for a viewer's first picture.
const joinTimeout = 10 * time.Second

// places are the viewers of each device: the same on both, so that the control's
// longest gap is the longest of as many.
var places = []struct{ stream, kind string }{
	{"main", viewer.WHEP},
	{"main", viewer.WHEP},
	{"main", viewer.RTSPTCP},
	{"sub", viewer.WHEP},
	{"sub", viewer.RTSPUDP},
}

// seat is one viewer in its place.
type seat struct {
	stream string
	*viewer.Viewer
}

// scene is everything that runs during the demo.
type scene struct {
	dir      *device.Dir
	bin      string
	packages packages
	releases map[string]string // the panel's names of the packages, by version
	panel    *device.Panel

	cam, control         *device.Device
	camSeats, controlled []seat
}

// open starts all parts, in the order in which one needs the other.
func open(ctx context.Context, bin, listen string, say func(string, ...any)) (s *scene, err error) {
	s = &scene{bin: bin, releases: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = device.NewDir(bin); err != nil {
		return s, err
	}
	say("making keys and packages")
	if s.packages, err = buildPackages(ctx, bin, s.dir.Path); err != nil {
		return s, err
	}
	if s.panel, err = device.StartPanel(ctx, bin, s.dir.Path, listen, s.packages.trust); err != nil {
		return s, err
	}
	say("the panel is at %s", s.panel.URL)
	if err = s.upload(ctx); err != nil {
		return s, err
	}
	say("starting the devices %s and %s with camera %s", camName, controlName, first.version)
	if err = s.startDevices(ctx); err != nil {
		return s, err
	}
	say("joining %d viewers to each", len(places))
	if s.camSeats, err = join(ctx, s.cam); err != nil {
		return s, err
	}
	s.controlled, err = join(ctx, s.control)
	return s, err
}

// upload gives the panel all packages that its keys vouch for.
func (s *scene) upload(ctx context.Context) error {
	for _, step := range append([]step{first}, steps...) {
		if step.stranger {
			continue
		}
		id, err := s.panel.Upload(ctx, s.packages.files[step.version])
		if err != nil {
			return err
		}
		s.releases[step.version] = id
	}
	return nil
}

func (s *scene) startDevices(ctx context.Context) error {
	var wg sync.WaitGroup
	var camErr, controlErr error
	wg.Go(func() { s.cam, camErr = s.startDevice(ctx, camName) })
	wg.Go(func() { s.control, controlErr = s.startDevice(ctx, controlName) })
	wg.Wait()
	return errors.Join(camErr, controlErr)
}

// startDevice makes a device, installs the first version and waits for the panel
// to see it.
func (s *scene) startDevice(ctx context.Context, name string) (*device.Device, error) {
	token, err := s.panel.Enrolment(ctx, name)
	if err != nil {
		return nil, err
	}
	d, err := device.Start(ctx, device.Config{
		Name: name, Bin: s.bin, Trust: s.packages.trust, PanelURL: s.panel.Link, PanelToken: token,
	})
	if err != nil {
		return nil, err
	}
	stage := control.StageRequest{Path: s.packages.files[first.version]}
	if r := control.Install(ctx, d.Client, stage, true); r.Exit != control.ExitDone {
		return d, fmt.Errorf("device %s does not install version %s: %s\n%s", name, first.version, r.Message, d.Logs())
	}
	return d, s.panel.WaitOnline(ctx, name)
}

// join seats a device's viewers and waits until each has a picture.
func join(ctx context.Context, d *device.Device) (seats []seat, err error) {
	for _, p := range places {
		var v *viewer.Viewer
		if p.kind == viewer.WHEP {
			v, err = viewer.DialWHEP(ctx, d.WHEP(p.stream))
		} else {
			v, err = viewer.DialRTSP(ctx, p.kind, d.RTSP(p.stream))
		}
		if err == nil {
			seats = append(seats, seat{p.stream, v})
			err = firstPicture(ctx, v)
		}
		if err != nil {
			return seats, fmt.Errorf("device %s: %w\n%s", d.Config.Device, err, d.Logs())
		}
	}
	return seats, nil
}

func firstPicture(ctx context.Context, v *viewer.Viewer) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if _, err := v.WaitVersion(ctx, first.version, 0); err != nil {
		return fmt.Errorf("%s viewer of %s: %w", v.Kind, v.URL, err)
	}
	return nil
}

// close ends everything.
func (s *scene) close() error {
	for _, seat := range append(s.camSeats, s.controlled...) {
		seat.Close()
	}
	var errs []error
	for _, d := range []*device.Device{s.cam, s.control} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	if s.panel != nil {
		s.panel.Stop()
	}
	if s.dir != nil {
		errs = append(errs, s.dir.Clear())
	}
	return errors.Join(errs...)
}
