// Package small reads files whole that people and commands keep for the panel: keys,
// configurations, tokens. One that is larger than its kind can be is refused, and does not
// fill the memory; it is another file under that name, or a device.
package small

import (
	"fmt"
	"io"
	"os"
)

// File reads a file of so many bytes at most.
func File(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return text, nil
}
