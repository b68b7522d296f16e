package verify

import (
	"io"
	"slices"
)

// readLayout checks that from the first image on every header, every padding
// byte and the end stand exactly where the manifest puts them, and reads the
// chunk indexes.
func (p *Package) readLayout(r io.ReaderAt, size int64, head []Member) error {
	p.Members = p.Manifest.members(head)
	last := p.Members[len(p.Members)-1]
	end := last.Offset + last.Size + Padding(last.Size) + trailer
	if size < end {
		return refuse(CodeTruncated, "the package is cut off: it has %d bytes, its manifest says %d", size, end)
	}
	if size > end {
		// How much it is, a stream does not say.
		return refuse(CodeTrailing, "the package goes on behind byte %d, where its manifest puts its end: something was appended", end)
	}
	for i, m := range p.Members {
		if i >= len(head) { // those of the head were compared when it was read
			if err := checkHeader(r, m); err != nil {
				return err
			}
		}
		if err := checkZero(r, m.Offset+m.Size, Padding(m.Size)); err != nil {
			return err
		}
	}
	if err := checkZero(r, end-trailer, trailer); err != nil {
		return err
	}
	for i, image := range p.Manifest.Images {
		index, content := p.Members[len(head)+2*i], p.Members[len(head)+1+2*i]
		chunks, err := readIndex(io.NewSectionReader(r, index.Offset, index.Size), image)
		if err != nil {
			return err
		}
		p.payloads = append(p.payloads, &Payload{Image: image, Chunks: chunks, Offset: content.Offset, r: r})
	}
	return nil
}

// members computes where everything stands; it needs nothing but the manifest
// and the members before the first image.
func (m *Manifest) members(head []Member) []Member {
	list := slices.Clone(head)
	var next int64
	if len(head) > 0 {
		last := head[len(head)-1]
		next = last.Offset + last.Size + Padding(last.Size)
	}
	add := func(name string, size int64, sum string) {
		list = append(list, Member{Name: name, Offset: next + Record, Size: size, SHA256: sum})
		next += Record + size + Padding(size)
	}
	for _, image := range m.Images {
		add(image.Name+ChunksSuffix, int64(image.Chunks.Count)*chunkEntry, image.Chunks.SHA256)
		add(image.Name, image.Size, image.SHA256)
	}
	return list
}

func checkHeader(r io.ReaderAt, m Member) error {
	var h [Record]byte
	if err := readAt(r, m.Offset-Record, h[:]); err != nil {
		return err
	}
	if h != Header(m.Name, m.Size) {
		return refuse(CodeHeader, "the package is damaged: the header of %s is not the one that the manifest asks for", m.Name)
	}
	return nil
}

// checkZero reads at most two records.
func checkZero(r io.ReaderAt, off, n int64) error {
	var buf [trailer]byte
	if err := readAt(r, off, buf[:n]); err != nil {
		return err
	}
	if buf != [trailer]byte{} {
		return refuse(CodePadding, "the package is damaged: bytes that must be zero are not, near byte %d", off)
	}
	return nil
}
