package agent

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"slipstream/slots"
)

// What a technician reads says what to do, and never another's remedy: a medium
// that fails is not the device's disk. White-box, because no device has such disks.
func TestSentencesOfStages(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		says string
	}{
		{"a stick that was pulled", fmt.Errorf("%w: at 7: %w", slots.ErrSource, syscall.EIO), "plug the medium in"},
		{"a disk that fails", fmt.Errorf("write the image at 7: %w", syscall.EIO), "replace the disk"},
		{"a disk that lies", fmt.Errorf("read back: %w", slots.ErrDamaged), "replace the disk"},
		{"a disk that is full", fmt.Errorf("write the image at 7: %w", syscall.ENOSPC), "free some"},
		{"no room at all", slots.ErrNoSpace, "free some"},
		{"a disk that can only be read", syscall.EROFS, "slipstream doctor"},
		{"a partition too small", slots.ErrTooLarge, "ask its maker"},
		{"a slot in use", slots.ErrBusy, "end it"},
		{"bytes that are not the signed ones", slots.ErrContent, "copy or download it again"},
	} {
		if got := stageSentence(fmt.Errorf("slots: stage into slot b: %w", tt.err)); !strings.Contains(got, tt.says) {
			t.Errorf("%s: %q does not say %q", tt.name, got, tt.says)
		}
	}
}
