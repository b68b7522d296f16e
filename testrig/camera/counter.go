package camera

// The picture's counter: a row of blocks over the full width of the lowest fifth.
const (
	CounterBlocks = 10  // nine bits, the highest first, then a bit that makes the number of white ones odd
	CounterModulo = 300 // the clip's length in frames; the picture shows the counter modulo this
)

// counterRow is the height of the blocks' centres as a share of the picture's.
const counterRow = 0.9

// ReadCounter reads the counter from a picture's luma plane of w × h bytes, at
// any scale, by the centres of the blocks. ok is false when the parity is wrong:
// a picture that is all black or all white is no counter.
func ReadCounter(luma []byte, w, h int) (n int, ok bool) {
	if w < CounterBlocks || h < 10 || len(luma) < w*h {
		return 0, false
	}
	row := int(float64(h) * counterRow)
	ones := 0
	for i := range CounterBlocks {
		column := w * (2*i + 1) / (2 * CounterBlocks)
		white := luma[row*w+column] >= 128
		if white {
			ones++
		}
		if i == CounterBlocks-1 {
			break
		}
		n <<= 1
		if white {
			n |= 1
		}
	}
	return n, ones%2 == 1 && n < CounterModulo
}
