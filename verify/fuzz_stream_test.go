package verify_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"slipstream/verify"
)

// FuzzStream: of whatever follows a signed head the same is said if it is a file and
// if it is a stream, in whatever pieces that comes, and in the same words, unless it
// is cut: a stream does not say how long it was to be. With fit the hashes in the
// statement and in the indexes are made those of the bytes they are about, so that
// the checks behind the hashes are reached as well.
func FuzzStream(f *testing.F) {
	good := newFixture(f)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 1)) // fixed, or a corpus would say nothing
	if err != nil {
		f.Fatal(err)
	}
	trust := trustOf(f, key)
	body := good.file[verify.Record+int64(len(good.head))+verify.Padding(int64(len(good.head))):]
	second := good.statement(func(m *verify.Manifest) {
		m.Images = append(m.Images, verify.Image{Name: "root.erofs", Class: verify.ClassSystem, Kind: verify.KindErofs, Size: 3})
		m.Images[1].Chunks.Count = 1
	})
	line := verify.AppendIndex(nil, verify.Chunk{Length: 3, SHA256: sha256.Sum256([]byte("abc"))})
	further := join(body[:len(body)-1024], member("root.erofs.chunks", line), member("root.erofs", []byte("abc")), make([]byte, 1024))
	second, further = fitted(second, further)
	for _, fit := range []bool{false, true} {
		f.Add(good.payload, body, fit)
		f.Add(good.payload, body[:len(body)-1], fit)
		f.Add(good.payload, join(body, make([]byte, 2)), fit)
		f.Add(good.payload, body[:600], fit)
		f.Add(second, further, fit)
	}
	f.Add(second, flippedAt(further, 2000, -1), false)                  // an image, and the end
	f.Add(second, flippedAt(further, 2000, -1024-verify.Record), false) // both images
	f.Fuzz(func(t *testing.T, statement, body []byte, fit bool) {
		if fit {
			statement, body = fitted(statement, body)
		}
		if len(statement) == 0 || len(statement) > verify.MaxBundle/2 {
			return // no file has such a head
		}
		file := join(member(verify.HeadName, signWith(t, key, statement)), body)
		p, err := verify.Inspect(bytes.NewReader(file), int64(len(file)), trust)
		if err == nil {
			err = p.CheckAll(context.Background())
		}
		if err != nil && verify.Code(err) == "" {
			t.Fatalf("not a refusal: %v", err)
		}
		for how, pieces := range map[string]func(io.Reader) io.Reader{"halves": iotest.HalfReader, "the end with the last bytes": iotest.DataErrReader} {
			streamed, told := verify.CheckStream(context.Background(), pieces(bytes.NewReader(file)), trust, nil)
			code := verify.Code(err)
			if (err == nil) != (told == nil) || code != verify.Code(told) || err != nil && code != verify.CodeTruncated && err.Error() != told.Error() {
				t.Fatalf("of the file is said %v, of the stream in %s %v", err, how, told)
			}
			if told == nil && streamed.Digest != p.Digest {
				t.Fatalf("the file is package %s, the stream %s", p.Digest, streamed.Digest)
			}
		}
	})
}

// flippedAt has other bytes at some places, which are counted from the end if below 0.
func flippedAt(data []byte, places ...int) []byte {
	data = bytes.Clone(data)
	for _, at := range places {
		data[(at+len(data))%len(data)] ^= 1
	}
	return data
}

// fitted makes every hash that of the bytes which lie where the statement puts images
// and chunks. What is no statement stays as it is.
func fitted(statement, body []byte) (fit, changed []byte) {
	var s verify.Statement
	if json.Unmarshal(statement, &s) != nil {
		return statement, body
	}
	changed = bytes.Clone(body)
	rest := changed
	take := func(n int64) []byte {
		n = min(max(n, 0), int64(len(rest)))
		taken := rest[:n:n]
		rest = rest[n:]
		return taken
	}
	file := func(size int64) []byte {
		take(verify.Record)
		data := take(size)
		take(verify.Padding(size))
		return data
	}
	for i := range s.Predicate.Images {
		image := &s.Predicate.Images[i]
		index, content := file(int64(image.Chunks.Count)*indexLine), file(image.Size)
		image.SHA256 = sumOf(content)
		for line := range slices.Chunk(index, indexLine) {
			if len(line) == indexLine {
				n := int(min(int64(binary.BigEndian.Uint32(line)), int64(len(content))))
				sum := sha256.Sum256(content[:n])
				copy(line[4:], sum[:])
				content = content[n:]
			}
		}
		image.Chunks.SHA256 = sumOf(index)
	}
	fit, err := json.Marshal(s.Predicate.Statement())
	if err != nil {
		return statement, body
	}
	return fit, changed
}

// indexLine is one line of a chunk index: u32be length, SHA-256.
const indexLine = 4 + sha256.Size

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
