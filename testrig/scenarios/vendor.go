package scenarios

import (
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"slipstream/testrig/machine"
	"slipstream/verify"
	"slipstream/verify/pack"
)

// release is a package that a scenario can stage.
type release struct {
	file    string
	version string // of its manifest
}

// vendorName is what scenarios call a vendor's package, and what they ask for its first
// stream by.
const (
	vendorName = "package"
	streamVar  = "STREAM"
)

// vendor is whoever tries a package of their own.
type vendor struct {
	release
	from, stream string
	trust        []byte
	manifest     verify.Manifest
}

// vendor reads what a run is to be played with; nil for the rig's own camera.
func (o Options) vendor() (*vendor, error) {
	if o.Package == "" {
		if o.From != "" || o.Trust != "" {
			return nil, errors.New("there is no package to be tried: name it with --package")
		}
		return nil, nil
	}
	if o.Trust == "" {
		return nil, errors.New("who has signed the package is not known: name the release keys, as PEM, with --trust")
	}
	trust, err := os.ReadFile(o.Trust)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(trust); block == nil {
		return nil, fmt.Errorf("%s holds no keys as PEM; a vendor's root is not of use here", o.Trust)
	}
	f, err := pack.OpenFile(o.Package)
	if err != nil {
		return nil, err
	}
	v := &vendor{release{o.Package, f.Manifest.Version}, cmp.Or(o.From, o.Package), "", trust, f.Manifest}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if v.manifest.App == nil || len(v.manifest.App.Streams) == 0 || len(v.manifest.Hardware) == 0 {
		return nil, fmt.Errorf("%s has no application with a stream", o.Package)
	}
	v.stream = v.manifest.App.Streams[0].Name
	return v, nil
}

// newCamera makes the disk of a camera that has the rig's own application, or a vendor's.
func newCamera(ctx context.Context, f *machine.Factory, v *vendor) error {
	if v != nil {
		f.Product, f.Hardware = v.manifest.Product, v.manifest.Hardware[0]
		return f.Build(ctx, machine.Release{Camera: v.from, Trust: v.trust})
	}
	first, err := f.Camera(ctx, cameraRelease("1.0", 1))
	if err != nil {
		return err
	}
	return f.Build(ctx, machine.Release{Camera: first})
}

// offer lets a scenario stage the vendor's package.
func (w *world) offer(v *vendor) {
	if w.stream = "main"; v != nil {
		w.packages[vendorName], w.stream = v.release, v.stream
		w.counter = v.manifest.ReleaseCounter
	}
}
