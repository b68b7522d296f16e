package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Package is a package whose signature, manifest, layout and chunk indexes are
// right. Its images' bytes are judged when they are read.
type Package struct {
	Manifest Manifest
	Digest   string     // lower-case hex SHA-256 of the signed statement: the package's name everywhere
	Signer   string     // id of the first trusted key that signed, "" after Unverified
	Signers  []string   // ids of all of them, none twice
	Logged   []LogEntry // where transparency logs have their signatures
	Hint     string     // id of the key that the bundle claims, maybe ""
	Head     Head       // the files before the first image
	Learned  Learned    // after Open: what the device may remember of it
	Members  []Member

	payloads []*Payload
}

// Member is one file of the package, in the order in which they stand.
type Member struct {
	Name   string `json:"name"`
	Offset int64  `json:"offset"` // of its first byte in the package
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // signed; the head, which holds the signature, has none
}

// Payload is one image of a package.
type Payload struct {
	Image  Image
	Chunks []Chunk // in order, without gaps, from 0 to Image.Size
	Offset int64   // of the image's first byte in the package

	r io.ReaderAt
}

// Open reads and checks the head of a package, then whether this device may run
// it, then the layout and the chunk indexes. It reads nothing of the images.
// An error with a [Code] is a refusal; any other means that reading failed.
func Open(r io.ReaderAt, size int64, trust *Trust, dev Device) (*Package, error) {
	return open(r, size, trust, &dev)
}

// Inspect is Open for those who have no device in mind: build machines and the panel.
func Inspect(r io.ReaderAt, size int64, trust *Trust) (*Package, error) {
	return open(r, size, trust, nil)
}

// Unverified reads a package without asking who signed it. What it returns is
// anybody's word: it is for showing to a person, never for installing.
func Unverified(r io.ReaderAt, size int64) (*Package, error) {
	head, members, err := readHead(r, size)
	if err != nil {
		return nil, err
	}
	envelopes, err := parseBundles(packageWords, PayloadType, head.Bundles)
	if err != nil {
		return nil, err
	}
	m, err := parseStatement(envelopes[0].payload)
	if err != nil {
		return nil, err
	}
	return assemble(r, size, head, members, judged{manifest: m, signed: signed{payload: envelopes[0].payload, hint: envelopes[0].hint}})
}

// Image returns the package's image for a slot class.
func (p *Package) Image(class string) (*Payload, bool) {
	for _, payload := range p.payloads {
		if payload.Image.Class == class {
			return payload, true
		}
	}
	return nil, false
}

// Images returns every image, in the order of the package.
func (p *Package) Images() []*Payload { return slices.Clone(p.payloads) }

// CheckAll reads and hashes every image, less than a megabyte in memory at a time.
func (p *Package) CheckAll(ctx context.Context) error {
	for _, payload := range p.payloads {
		if err := payload.check(ctx, payload.r); err != nil {
			return err
		}
	}
	return nil
}

// Reader returns the image's bytes, not yet hashed: who writes them somewhere
// hashes each chunk before.
func (p *Payload) Reader() *io.SectionReader {
	return io.NewSectionReader(p.r, p.Offset, p.Image.Size)
}

func open(r io.ReaderAt, size int64, trust *Trust, dev *Device) (*Package, error) {
	head, members, err := readHead(r, size)
	if err != nil {
		return nil, err
	}
	found, err := judge(head, trust, dev)
	if err != nil {
		return nil, err
	}
	return assemble(r, size, head, members, found)
}

// assemble goes on from the judged head. The device was asked before the layout,
// so that a package for something else costs two reads.
func assemble(r io.ReaderAt, size int64, head Head, members []Member, found judged) (*Package, error) {
	p := &Package{
		Manifest: found.manifest, Digest: digest(found.signed.payload),
		Head: head, Learned: found.learned,
		Signers: found.signed.signers, Logged: found.signed.logged, Hint: found.signed.hint,
	}
	if len(p.Signers) > 0 {
		p.Signer = p.Signers[0]
	}
	if err := p.readLayout(r, size, members); err != nil {
		return nil, err
	}
	return p, nil
}

func digest(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// readAt fills buf. A file that ends although it has been longer is a refusal:
// it is cut, or is being written while we read.
func readAt(r io.ReaderAt, off int64, buf []byte) error {
	n, err := r.ReadAt(buf, off)
	switch {
	case n == len(buf):
		return nil
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(CodeTruncated, "the package ends at byte %d, in the middle of its content", off+int64(n))
	}
	return fmt.Errorf("read package at byte %d: %w", off, err)
}
