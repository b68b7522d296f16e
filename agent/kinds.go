package agent

import (
	"errors"
	"slices"
	"sync"

	"slipstream/slots"
	"slipstream/slots/verity"
	"slipstream/verify"
)

// runnable are the kinds of images from which apps can be run on this machine, as
// far as the kernel goes. The kernel is asked once.
var runnable = sync.OnceValue(func() []string { return kindsBut(slots.ErrUnsupported) })

// mountable are those that this process may mount as well.
var mountable = sync.OnceValue(func() []string { return kindsBut(slots.ErrUnsupported, slots.ErrUnprivileged) })

// kindsBut leaves out what cannot be for one of the reasons.
func kindsBut(reasons ...error) (kinds []string) {
	for _, kind := range []string{verify.KindTree, verify.KindErofs, verify.KindSquashfs} {
		err := slots.CanMount(kind)
		if !slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) }) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// imageOf is a manifest's image for live slots, zero if it has none.
func imageOf(m verify.Manifest) verify.Image {
	for _, image := range m.Images {
		if image.Class == verify.ClassLive {
			return image
		}
	}
	return verify.Image{}
}

// sameTree says whether a slot's note has the hash tree that was signed.
func sameTree(noted *verity.Params, signed *verify.Verity) bool {
	if noted == nil || signed == nil {
		return noted == nil && signed == nil
	}
	return *noted == verity.Params(*signed)
}
