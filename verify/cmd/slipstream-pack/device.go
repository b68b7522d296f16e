package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// device is a device as it is described in a file, to ask what it would say.
type device struct {
	ID           string    `json:"id,omitempty"`
	Product      string    `json:"product"`
	Hardware     string    `json:"hardware"`
	Kinds        string    `json:"kinds,omitempty"` // with commas between them
	FloorCounter int64     `json:"floorCounter,omitempty"`
	FloorDigest  string    `json:"floorDigest,omitempty"`
	FloorEpoch   int64     `json:"floorEpoch,omitempty"`
	Time         time.Time `json:"time,omitzero"`      // its secure time
	Fleet        string    `json:"fleet,omitempty"`    // file with the root of its fleet
	Sequence     int64     `json:"sequence,omitempty"` // of the newest order that it obeyed
	Newest       string    `json:"newest,omitempty"`   // digest of that order
	Linked       bool      `json:"linked,omitempty"`   // the package comes by the fleet's link
}

const deviceHelp = `

A DEVICE is described by flags, or by a JSON file (--device) with these keys, of
which product and hardware must be there:
  id, product, hardware, floorCounter, floorDigest, floorEpoch, time (secure time),
  kinds (of images that it can mount: "erofs,squashfs"; trees need no mount),
  fleet (file with its fleet's root), sequence and newest (of the newest order it
  obeyed: number and digest), linked (the package comes by the fleet's link)`

type deviceFlags struct {
	device
	file string
	time string
}

func (f *deviceFlags) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.file, "device", "", "JSON file that describes a device")
	flags.StringVar(&f.ID, "id", "", "name of the device in its fleet")
	flags.StringVar(&f.Product, "product", "", "product of the device")
	flags.StringVar(&f.Hardware, "hardware", "", "hardware of the device")
	flags.StringVar(&f.Kinds, "kinds", "", "kinds of images that the device can mount: erofs,squashfs")
	flags.Int64Var(&f.FloorCounter, "floor", 0, "lowest release counter that the device accepts")
	flags.Int64Var(&f.FloorEpoch, "epoch", 0, "lowest security epoch that the device accepts")
	flags.StringVar(&f.time, "time", "", "secure time of the device: a date or 2026-11-23T10:00:00Z")
	flags.StringVar(&f.Fleet, "fleet", "", "root of the fleet that the device belongs to")
	cmd.MarkFlagsRequiredTogether("product", "hardware")
	for _, name := range []string{"id", "product", "hardware", "kinds", "floor", "epoch", "time", "fleet"} {
		cmd.MarkFlagsMutuallyExclusive("device", name)
	}
}

// read returns nil if no device is described.
func (f *deviceFlags) read() (*verify.Device, error) {
	d := f.device
	if f.file != "" {
		data, err := pack.ReadFile(f.file)
		if err != nil {
			return nil, err
		}
		if err := pack.DecodeJSON(f.file, data, &d); err != nil {
			return nil, err
		}
		if d.Product == "" || d.Hardware == "" {
			return nil, fmt.Errorf("%s: product and hardware must be there", f.file)
		}
	}
	if f.time != "" {
		var err error
		if d.Time, err = endOf(f.time, ""); err != nil {
			return nil, fmt.Errorf("--time %s must be a date, or look like 2026-11-23T10:00:00Z", f.time)
		}
	}
	if d == (device{}) {
		return nil, nil
	}
	if d.Product == "" {
		return nil, fmt.Errorf("--product and --hardware are missing: a device has both")
	}
	return d.known()
}

func (d device) known() (*verify.Device, error) {
	dev := &verify.Device{
		ID: d.ID, Product: d.Product, Hardware: d.Hardware, Time: d.Time,
		FloorCounter: d.FloorCounter, FloorDigest: d.FloorDigest, FloorEpoch: d.FloorEpoch,
	}
	if d.Kinds != "" {
		dev.Kinds = append(strings.Split(d.Kinds, ","), verify.KindTree)
	}
	if d.Fleet == "" {
		return dev, nil
	}
	root, err := verify.LoadFleet(d.Fleet)
	if err != nil {
		return nil, err
	}
	dev.Fleet = &verify.Fleet{Root: root, Sequence: d.Sequence, Newest: d.Newest, Linked: d.Linked}
	return dev, nil
}

// opinion is what a device says of a package.
type opinion struct {
	Takes   bool   `json:"takes"`
	Code    string `json:"code,omitempty"` // of its refusal
	Message string `json:"message,omitempty"`
}

func ask(f *os.File, size int64, trust *verify.Trust, dev *verify.Device) (*opinion, error) {
	_, err := verify.Open(f, size, trust, *dev)
	if err != nil && verify.Code(err) == "" {
		return nil, err
	}
	if err != nil {
		return &opinion{Code: verify.Code(err), Message: err.Error()}, nil
	}
	return &opinion{Takes: true}, nil
}
