package slots

type (
	Disk      = disk
	DiskFile  = diskFile
	DiskImage = diskImage
)

// OpenOn opens slots whose writes go through the disk that wrap returns.
func OpenOn(dir string, o Options, wrap func(Disk) Disk) (*Set, error) {
	return open(dir, o, func(d rootDisk) disk { return wrap(d) })
}

// OpenRecordOn is the same for the active record.
func OpenRecordOn(dir string, wrap func(Disk) Disk) (*RecordFile, error) {
	return openRecord(dir, func(d rootDisk) disk { return wrap(d) })
}

// DecodeRecord reads one copy of the active record.
func DecodeRecord(raw []byte) (Record, error) { return decodeRecord(raw) }

// SealRecord puts a header with the right checksum before a document.
func SealRecord(doc string) []byte { return sealRecord([]byte(doc)) }

// DecodeEntry reads one header of a tree image and returns it made again.
func DecodeEntry(raw []byte) ([]byte, error) {
	e, err := decodeEntry(raw)
	if err != nil {
		return nil, err
	}
	return e.encode()
}

// Holder names the loop device that has a file, "" if none has.
func Holder(file string) (string, error) { return holder(file) }

// ImagePath is where the image of a slot lies.
func (s *Set) ImagePath(name string) string { return s.imagePath(name) }
