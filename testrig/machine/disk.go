package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"slipstream/slots/boot"
)

// Parts are the files that become the partitions of a disk.
type Parts struct {
	A, B, Recovery, Data string
}

// partition is one of the disk's, in MiB.
type partition struct {
	name     string
	from, mb int
}

// partitions of a disk, and its size. The first MiB has the table.
func partitions() (list []partition, mb int) {
	at := 1
	for _, p := range []partition{
		{name: "bootsel", mb: 1}, {name: "ubstate", mb: 1},
		{name: "system-a", mb: systemMB}, {name: "system-b", mb: systemMB}, {name: "recovery", mb: systemMB},
		{name: "data", mb: dataMB},
	} {
		p.from = at
		at += p.mb
		list = append(list, p)
	}
	return list, at + 1 // the table's copy lies at the end
}

// WriteDisk makes the disk that a machine leaves the factory with.
func (k *Kit) WriteDisk(ctx context.Context, to string, parts Parts) error {
	list, mb := partitions()
	if err := os.WriteFile(to, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(to, int64(mb)*mib); err != nil {
		return err
	}
	var table strings.Builder
	fmt.Fprintln(&table, "label: gpt")
	for _, p := range list {
		fmt.Fprintf(&table, "start=%dMiB, size=%dMiB, name=%s\n", p.from, p.mb, p.name)
	}
	if _, err := run(ctx, table.String(), "sfdisk", "-q", to); err != nil {
		return err
	}
	selector := to + ".scr"
	defer os.Remove(selector)
	if err := k.writeSelector(ctx, selector); err != nil {
		return err
	}
	disk, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer disk.Close()
	state := to + ".state"
	defer os.Remove(state)
	if err := writeState(state, parts); err != nil {
		return err
	}
	content := map[string]string{
		"bootsel": selector, "ubstate": state, "system-a": parts.A, "system-b": parts.B, "recovery": parts.Recovery, "data": parts.Data,
	}
	for _, p := range list {
		if content[p.name] == "" {
			continue // empty on purpose
		}
		if err := place(disk, p, content[p.name]); err != nil {
			return fmt.Errorf("partition %s: %w", p.name, err)
		}
	}
	return nil
}

// StateSize is that of each of the two copies in partition ubstate.
const StateSize = 0x1000

// BootState is what a boot loader with such a partition goes by; the file may be a copy.
func BootState(file string) (boot.Control, error) {
	return boot.NewEnv(boot.EnvConfig{
		Format: boot.Sequence, Size: StateSize, Lock: file + ".lock",
		Copies: []boot.Copy{{Path: file}, {Path: file, Offset: StateSize}},
	}, boot.Trial{})
}

// writeState says that slot a is started, and which ones may be.
func writeState(file string, parts Parts) error {
	defer os.Remove(file + ".lock")
	if err := os.WriteFile(file, make([]byte, 2*StateSize), 0o644); err != nil {
		return err
	}
	state, err := BootState(file)
	if err == nil && parts.B != "" {
		err = state.Commit("b") // what was permanent stays bootable
	}
	if err == nil {
		err = state.Commit("a")
	}
	return err
}

// place copies a file to a partition and leaves holes where it is zero.
func place(disk *os.File, p partition, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	zero, block := make([]byte, 1<<16), make([]byte, 1<<16)
	for at := int64(0); ; {
		n, err := io.ReadFull(in, block)
		if at+int64(n) > int64(p.mb)*mib {
			return fmt.Errorf("%s is larger than %d MiB", filepath.Base(file), p.mb)
		}
		if !bytes.Equal(block[:n], zero[:n]) {
			if _, err := disk.WriteAt(block[:n], int64(p.from)*mib+at); err != nil {
				return err
			}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// writeSelector makes an image of the boot script, as U-Boot's "source" wants it.
func (k *Kit) writeSelector(ctx context.Context, to string) error {
	text := to + ".cmd"
	defer os.Remove(text)
	if err := os.WriteFile(text, []byte(boot.TrialScript), 0o644); err != nil {
		return err
	}
	_, err := run(ctx, "", "mkimage", "-A", k.Arch.Name, "-T", "script", "-d", text, to)
	return err
}
