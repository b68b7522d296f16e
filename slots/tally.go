package slots

import "io/fs"

// tally is a disk that counts what is written to it.
type tally struct {
	disk
	written *int64
}

func (t tally) Sub(name string) (disk, error) {
	d, err := t.disk.Sub(name)
	return tally{d, t.written}, err
}

func (t tally) Create(name string, mode fs.FileMode) (diskFile, error) {
	f, err := t.disk.Create(name, mode)
	return tallyFile{f, t.written}, err
}

func (t tally) Append(name string) (diskFile, error) {
	f, err := t.disk.Append(name)
	return tallyFile{f, t.written}, err
}

func (t tally) Log(name string) (diskFile, error) {
	f, err := t.disk.Log(name)
	return tallyFile{f, t.written}, err
}

func (t tally) Image(name string) (diskImage, error) {
	f, err := t.disk.Image(name)
	return tallyImage{f, t.written}, err
}

func (t tally) Partition(path string) (diskImage, error) {
	f, err := t.disk.Partition(path)
	return tallyImage{f, t.written}, err
}

type tallyFile struct {
	diskFile
	written *int64
}

func (f tallyFile) Write(p []byte) (int, error) {
	n, err := f.diskFile.Write(p)
	*f.written += int64(n)
	return n, err
}

type tallyImage struct {
	diskImage
	written *int64
}

func (f tallyImage) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.diskImage.WriteAt(p, off)
	*f.written += int64(n)
	return n, err
}
