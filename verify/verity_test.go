package verify

import (
	"strings"
	"testing"
)

// verityManifest has a squashfs image of so many blocks of data, a block for
// veritysetup, and a tree of so many blocks.
func verityManifest(data, tree int64) Manifest {
	m := sampleManifest()
	i := &m.Images[0]
	i.Kind, i.Size, i.Chunks.Count = KindSquashfs, (data+1+tree)*4096, int((data+1+tree)/64+1)
	i.Verity = &Verity{BlockSize: 4096, DataBlocks: data, HashOffset: (data + 1) * 4096, Salt: "5a", RootHash: strings.Repeat("0a", 32)}
	return m
}

func TestVerityIsTakenWhereItFits(t *testing.T) {
	for data, tree := range map[int64]int64{1: 0, 2: 1, 128: 1, 129: 3, 128 * 128: 129, 128*128 + 1: 129 + 3} {
		m := verityManifest(data, tree)
		if err := m.Validate(); err != nil {
			t.Errorf("%d blocks: %v", data, err)
		}
		if m.Images[0].Verity.DataBlocks += 2; m.Validate() == nil { // one more would leave no block for veritysetup
			t.Errorf("%d blocks: two more are taken as well", data)
		}
	}
	for name, change := range map[string]func(*Image){
		"erofs":        func(i *Image) { i.Kind = KindErofs },
		"no salt":      func(i *Image) { i.Verity.Salt = "" },
		"longest salt": func(i *Image) { i.Verity.Salt = strings.Repeat("5a", maxVeritySalt) },
		"no block for veritysetup": func(i *Image) {
			i.Size -= 4096
			i.Verity.HashOffset -= 4096
		},
		"encrypted": func(i *Image) {
			i.Encryption = &Encryption{Format: EncryptionAge, Size: i.Size, SHA256: i.SHA256}
			i.Size += 216
		},
	} {
		m := verityManifest(200, 3)
		change(&m.Images[0])
		if err := m.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerityIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Image){
		"a tree of files":        func(i *Image) { i.Kind = KindTree },
		"a disk":                 func(i *Image) { i.Kind = KindDisk },
		"blocks of 1024":         func(i *Image) { i.Verity.BlockSize = 1024 },
		"no data":                func(i *Image) { i.Verity.DataBlocks = 0 },
		"negative data":          func(i *Image) { i.Verity.DataBlocks = -200 },
		"data that overflows":    func(i *Image) { i.Verity.DataBlocks = 1 << 52 },
		"a tree within the data": func(i *Image) { i.Verity.HashOffset -= 8192 },
		"a tree far behind":      func(i *Image) { i.Verity.HashOffset += 4096 },
		"a tree between blocks":  func(i *Image) { i.Verity.HashOffset++ },
		"something behind":       func(i *Image) { i.Size += 4096 },
		"a tree cut short":       func(i *Image) { i.Size -= 4096 },
		"salt in capitals":       func(i *Image) { i.Verity.Salt = "5A" },
		"salt that is no hex":    func(i *Image) { i.Verity.Salt = "salt" },
		"salt too long":          func(i *Image) { i.Verity.Salt = strings.Repeat("5a", maxVeritySalt+1) },
		"no root hash":           func(i *Image) { i.Verity.RootHash = "" },
		"a root hash cut short":  func(i *Image) { i.Verity.RootHash = i.Verity.RootHash[2:] },
		"the size of the ciphertext": func(i *Image) {
			i.Encryption = &Encryption{Format: EncryptionAge, Size: i.Size - 216, SHA256: i.SHA256}
		},
	} {
		m := verityManifest(200, 3)
		change(&m.Images[0])
		if err := m.Validate(); Code(err) != CodeManifest {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
