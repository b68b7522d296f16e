package verify

import (
	"bytes"
	"fmt"
)

// Record is the unit of a tar file in bytes.
const Record = 512

// HeadName is the member that every package begins with.
const HeadName = "manifest.sigstore.json"

// ChunksSuffix makes the name of an image's chunk index.
const ChunksSuffix = ".chunks"

// trailer is the length of the two zero records that end a package.
const trailer = 2 * Record

// Where things stand in a ustar header (POSIX.1-1988 §10.1.1).
const (
	sizeAt     = 124
	sizeDigits = 11
	checksumAt = 148
)

// Header returns the only header that a member may have: the bytes that
// tar --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=0644
// writes. Name must be at most 100 bytes, size at most 8 GiB - 1.
func Header(name string, size int64) [Record]byte {
	var h [Record]byte
	copy(h[:100], name)
	copy(h[100:], "0000644\x00")
	copy(h[108:], "0000000\x00")
	copy(h[116:], "0000000\x00")
	copy(h[sizeAt:], fmt.Sprintf("%0*o\x00", sizeDigits, size))
	copy(h[136:], "00000000000\x00")
	copy(h[checksumAt:], "        ")
	h[156] = '0'
	copy(h[257:], "ustar\x0000")
	copy(h[329:], "0000000\x00")
	copy(h[337:], "0000000\x00")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[checksumAt:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// Padding is the number of zero bytes after a member of the given size.
func Padding(size int64) int64 { return -size & (Record - 1) }

// headSize returns the size that the header of a member before the first image
// claims. Nothing but the one allowed header for that name and size is accepted, so
// no other field can mean anything.
func headSize(h *[Record]byte, name string, limit int64) (int64, error) {
	if !bytes.HasPrefix(h[:], append([]byte(name), 0)) {
		return 0, refuse(CodeNotPackage, "the file is not a Slipstream package: it does not begin with %s", name)
	}
	var size int64
	for _, digit := range h[sizeAt : sizeAt+sizeDigits] {
		if digit < '0' || digit > '7' {
			return 0, refuse(CodeHeader, "the header of %s gives no size in eleven octal digits", name)
		}
		size = size<<3 | int64(digit-'0')
	}
	if Header(name, size) != *h {
		return 0, refuse(CodeHeader, "the header of %s is damaged or was made by another program", name)
	}
	if size == 0 || size > limit {
		return 0, refuse(CodeTooLarge, "%s has %d bytes in the package, the limit is %d", name, size, limit)
	}
	return size, nil
}
