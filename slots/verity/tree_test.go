package verity_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"slipstream/slots/verity"
)

// veritysetup runs the real one, which needs no kernel for what it does here.
func veritysetup(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("veritysetup")
	if err != nil {
		path = "/usr/sbin/veritysetup"
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal("veritysetup is missing (Debian: cryptsetup-bin)")
	}
	words, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return string(words), err
}

// data is so many blocks, the same ones each time.
func data(blocks int) []byte {
	out := make([]byte, blocks*verity.BlockSize)
	rand.NewChaCha8([32]byte{1}).Read(out)
	return out
}

// grow makes an image: data, a superblock if wanted, and the tree.
func grow(t *testing.T, data []byte, salt string, superblock bool) ([]byte, verity.Params) {
	t.Helper()
	raw, err := hex.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	b := verity.NewBuilder(raw)
	if _, err := b.Write(data); err != nil {
		t.Fatal(err)
	}
	tree, p, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	image := bytes.Clone(data)
	if superblock {
		block, err := p.Superblock()
		if err != nil {
			t.Fatal(err)
		}
		image = append(image, block...)
	} else {
		p.HashOffset -= verity.BlockSize
	}
	return append(image, tree...), p
}

func check(t *testing.T, image []byte, p verity.Params) error {
	t.Helper()
	c, err := verity.NewChecker(p, int64(len(image)))
	if err != nil {
		return err
	}
	for rest := image; len(rest) > 0; { // in pieces that fit no block
		n := min(len(rest), 5003)
		if _, err := c.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	return c.Finish()
}

// sizes are those around which levels begin: a block of the tree holds 128 hashes.
var sizes = []int{1, 2, 127, 128, 129, 128*128 + 1}

var salts = map[string]string{"no salt": "", "short": "ab", "usual": strings.Repeat("5a", 32), "longest": strings.Repeat("07", verity.MaxSalt)}

// TestTreeIsVeritysetups compares with the tree that the real program makes, and
// lets it judge ours, with a superblock and without.
func TestTreeIsVeritysetups(t *testing.T) {
	for _, blocks := range sizes {
		for name, salt := range salts {
			if blocks > 200 && name != "usual" {
				continue // the salt is the same at every size
			}
			t.Run(fmt.Sprintf("%d blocks, %s", blocks, name), func(t *testing.T) {
				t.Parallel()
				data := data(blocks)
				for _, superblock := range []bool{true, false} {
					if !superblock && blocks > 200 {
						break // nor does it matter to the tree
					}
					ours, p := grow(t, data, salt, superblock)
					compareWith(t, data, ours, p, superblock)
				}
			})
		}
	}
}

func compareWith(t *testing.T, data, ours []byte, p verity.Params, superblock bool) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	salt := p.Salt
	if salt == "" {
		salt = "-"
	}
	options := []string{"--hash=sha256", "--salt=" + salt, fmt.Sprint("--data-blocks=", p.DataBlocks), fmt.Sprint("--hash-offset=", len(data))}
	if superblock {
		root, err := hex.DecodeString(p.RootHash)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, fmt.Sprintf("--uuid=%x-%x-%x-%x-%x", root[16:20], root[20:22], root[22:24], root[24:26], root[26:32]))
	} else {
		options = append(options, "--no-superblock")
	}
	words, err := veritysetup(t, append(options, "format", file, file)...)
	if err != nil {
		t.Fatalf("format: %v: %s", err, words)
	}
	said := regexp.MustCompile(`Root hash:\s+([0-9a-f]+)`).FindStringSubmatch(words)
	if said == nil || said[1] != p.RootHash {
		t.Errorf("root hash %s, veritysetup says: %s", p.RootHash, words)
	}
	theirs, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(theirs, ours) {
		t.Errorf("superblock %v: the images differ: %d bytes, veritysetup has %d", superblock, len(ours), len(theirs))
	}
	if err := check(t, theirs, p); err != nil {
		t.Errorf("superblock %v: our check of theirs: %v", superblock, err)
	}
	if superblock {
		options = []string{fmt.Sprint("--hash-offset=", len(data))} // it says the rest
	}
	if err := os.WriteFile(file, ours, 0o644); err != nil {
		t.Fatal(err)
	}
	if words, err := veritysetup(t, append(options, "verify", file, file, p.RootHash)...); err != nil {
		t.Errorf("superblock %v: veritysetup refuses ours: %v: %s", superblock, err, words)
	}
	ours = bytes.Clone(ours)
	ours[len(data)/2] ^= 1
	if err := os.WriteFile(file, ours, 0o644); err != nil {
		t.Fatal(err)
	}
	if words, err := veritysetup(t, append(options, "verify", file, file, p.RootHash)...); err == nil {
		t.Errorf("superblock %v: veritysetup takes a changed block: %s", superblock, words)
	}
	if err := check(t, ours, p); !errors.Is(err, verity.ErrMismatch) {
		t.Errorf("superblock %v: changed data: got %v", superblock, err)
	}
}

// TestEveryBlockIsGuarded changes a bit in each block of an image with three levels.
func TestEveryBlockIsGuarded(t *testing.T) {
	image, p := grow(t, data(128*2+1), "5a", true)
	if err := check(t, image, p); err != nil {
		t.Fatal(err)
	}
	superblock := p.DataBlocks * verity.BlockSize
	for at := int64(0); at < int64(len(image)); at += verity.BlockSize {
		if at == superblock {
			continue // the image's own hash guards it
		}
		spot := at + at/verity.BlockSize%verity.BlockSize
		image[spot] ^= 0x10
		if err := check(t, image, p); !errors.Is(err, verity.ErrMismatch) {
			t.Fatalf("a bit at %d: got %v, want %v", spot, err, verity.ErrMismatch)
		}
		image[spot] ^= 0x10
	}
	if err := check(t, image, p); err != nil {
		t.Fatal(err)
	}
}

func TestCheckRefuses(t *testing.T) {
	whole, good := grow(t, data(130), "5a", true)
	for _, row := range []struct {
		name   string
		change func(p *verity.Params, image *[]byte)
		want   string
	}{
		{"another root hash", func(p *verity.Params, _ *[]byte) { p.RootHash = strings.Repeat("0", 64) }, "does not fit"},
		{"another salt", func(p *verity.Params, _ *[]byte) { p.Salt = "5b" }, "does not fit"},
		{"other blocks", func(p *verity.Params, _ *[]byte) { p.BlockSize = 1024 }, "1024"},
		{"no data", func(p *verity.Params, _ *[]byte) { p.DataBlocks = 0 }, "0 blocks"},
		{"negative data", func(p *verity.Params, _ *[]byte) { p.DataBlocks = -1 }, "-1 blocks"},
		{"more data than fits", func(p *verity.Params, _ *[]byte) { p.DataBlocks = 1 << 62 }, "blocks, allowed"},
		{"a tree in the data", func(p *verity.Params, _ *[]byte) { p.HashOffset -= 2 * verity.BlockSize }, "begins at"},
		{"a tree far behind", func(p *verity.Params, _ *[]byte) { p.HashOffset += verity.BlockSize }, "begins at"},
		{"a tree between blocks", func(p *verity.Params, _ *[]byte) { p.HashOffset++ }, "begins at"},
		{"something after the tree", func(_ *verity.Params, i *[]byte) { *i = append(*i, 0) }, "ends at"},
		{"a tree cut short", func(_ *verity.Params, i *[]byte) { *i = (*i)[:len(*i)-verity.BlockSize] }, "ends at"},
		{"a salt too long", func(p *verity.Params, _ *[]byte) { p.Salt = strings.Repeat("00", verity.MaxSalt+1) }, "salt"},
		{"a salt in upper case", func(p *verity.Params, _ *[]byte) { p.Salt = "5A" }, "salt"},
		{"half a byte of salt", func(p *verity.Params, _ *[]byte) { p.Salt = "5" }, "salt"},
		{"a short root hash", func(p *verity.Params, _ *[]byte) { p.RootHash = p.RootHash[2:] }, "root hash"},
		{"words as a root hash", func(p *verity.Params, _ *[]byte) { p.RootHash = strings.Repeat("z", 64) }, "root hash"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, image := good, bytes.Clone(whole)
			row.change(&p, &image)
			if err := check(t, image, p); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want something with %q", err, row.want)
			}
		})
	}
}

func TestFinishWantsTheWholeImage(t *testing.T) {
	image, p := grow(t, data(130), "", false)
	for _, n := range []int{0, 1, 130 * verity.BlockSize, len(image) - 1} {
		c, err := verity.NewChecker(p, int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(image[:n]); err != nil {
			t.Fatal(err)
		}
		if err := c.Finish(); !errors.Is(err, verity.ErrMismatch) {
			t.Errorf("after %d bytes: got %v, want %v", n, err, verity.ErrMismatch)
		}
	}
}

func TestBuilderRefusesHalfBlocks(t *testing.T) {
	for _, n := range []int{0, 1, verity.BlockSize + 1} {
		b := verity.NewBuilder(nil)
		if _, err := b.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Finish(); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
}
