package camera

import (
	"testing"
	"unsafe"
)

// Sizes stand in the numbers of the kernel's orders: 64 and 32 bits.
func TestVideoLayouts(t *testing.T) {
	wide := unsafe.Sizeof(uintptr(0)) == 8
	for name, sizes := range map[string][3]uintptr{ // has, 64 bits, 32 bits
		"v4l2_format":         {unsafe.Sizeof(v4l2Format{}), 208, 204},
		"v4l2_streamparm":     {unsafe.Sizeof(v4l2Parameters{}), 204, 204},
		"v4l2_requestbuffers": {unsafe.Sizeof(v4l2Request{}), 20, 20},
		"v4l2_buffer":         {unsafe.Sizeof(v4l2Buffer{}), 88, 80},
	} {
		if want := sizes[2]; !wide && sizes[0] != want {
			t.Errorf("%s has %d bytes, not %d", name, sizes[0], want)
		}
		if want := sizes[1]; wide && sizes[0] != want {
			t.Errorf("%s has %d bytes, not %d", name, sizes[0], want)
		}
	}
}
