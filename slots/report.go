package slots

// Options are how a class of slots is kept.
type Options struct {
	// Partitions are the block devices that hold the images, by slot name. With
	// none, images are kept below the directory of the slots.
	Partitions map[string]string
}

// StageOptions are all that a stage need not have.
type StageOptions struct {
	By       string // who asked for it, shown by Status
	InUse    string // the slot that runs now: never written, and read for chunks
	Progress func(Progress)
	Look     bool // read what is there already, even if this process has before
}

// Progress is how far a stage is. Done is the sum of the three origins.
type Progress struct {
	Done, Total int64 // bytes of the image
	Origins
}

// Origins says where the bytes of an image came from.
type Origins struct {
	Kept    int64 `json:"kept"`    // were in the target slot already
	Copied  int64 `json:"copied"`  // from the slot in use
	Fetched int64 `json:"fetched"` // from the package
}

// Report is what a stage has cost.
type Report struct {
	Origins
	Written int64 `json:"written"` // bytes written to storage, the slot's own files included
}
