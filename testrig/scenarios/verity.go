package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"slipstream/testrig/machine/hand"
)

// liveSlots is where the slots of the camera's application lie in the machine.
const liveSlots = "/var/lib/slipstream/slots"

// blockSize is that of what dm-verity checks at once.
const blockSize = 4096

// flip changes one bit in the middle of a file of a live slot, in the slot's image and
// behind the back of whoever has that mounted.
func (w *world) flip(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 2)
	if err != nil {
		return "", err
	}
	slot := path.Join(liveSlots, words[0])
	image, err := w.machine.Hand.Get(ctx, path.Join(slot, "image"))
	if err != nil {
		return "", err
	}
	file, err := w.machine.Hand.Get(ctx, path.Join(slot, "root", words[1]))
	if err != nil {
		return "", err
	}
	middle := len(file) / 2 / blockSize * blockSize
	block := file[middle:min(len(file), middle+blockSize)]
	at := bytes.Index(image, block)
	if at < 0 {
		return "", fmt.Errorf("the blocks of %s do not stand in the image as they are: only erofs has them so", words[1])
	}
	program := fmt.Sprintf("printf '\\%03o' | dd of=%s/image bs=1 seek=%d conv=notrunc,fsync", image[at]^1, slot, at)
	done, err := w.machine.Hand.Run(ctx, hand.Command{Args: []string{"sh", "-c", program}})
	if err == nil && done.Exit != 0 {
		err = fmt.Errorf("dd: exit %s: %s", strconv.Itoa(done.Exit), strings.TrimSpace(done.Err))
	}
	return fmt.Sprintf("byte %d of %d", at, len(image)), err
}
