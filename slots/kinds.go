package slots

import "fmt"

// imageName is the file that holds an image which is no tree, unless the slot has
// a partition.
const imageName = "image"

// mounted says whether images of a kind are mounted to be used.
func mounted(kind string) bool { return kind == KindErofs || kind == KindSquashfs }

func (c Content) checkVerity() error {
	switch {
	case c.Verity == nil:
		return nil
	case !mounted(c.Kind):
		return fmt.Errorf("an image of kind %q has no verity tree", c.Kind)
	}
	return c.Verity.Check(c.Size)
}
