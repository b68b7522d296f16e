package slotstest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// SystemdBoot is systemd-boot with "default PREFIX-*" and entries in a directory.
type SystemdBoot struct{ Dir, Prefix string }

var _ Loader = SystemdBoot{}

// Boot implements Loader, with the rules of config_entry_compare and
// config_entry_parse_tries in src/boot/efi/boot.c: entries without tries come
// last; the others in falling order of their versions, where a number is above
// a letter. The counter is moved on before the start. What cannot be loaded
// returns to the firmware, whose next choice is the recovery.
func (s SystemdBoot) Boot(loads func(slot string) bool) (string, error) {
	files, err := os.ReadDir(s.Dir)
	if err != nil {
		return "", err
	}
	var all []counted
	for _, f := range files {
		if stem, conf := strings.CutSuffix(f.Name(), ".conf"); conf && strings.HasPrefix(stem, s.Prefix+"-") {
			all = append(all, parseCounted(stem))
		}
	}
	if len(all) == 0 {
		return Recovery, nil
	}
	slices.SortFunc(all, counted.compare)
	first := all[0]
	if first.left > 0 {
		next := fmt.Sprintf("%s+%d-%d.conf", first.stem, first.left-1, first.done+1)
		if err := os.Rename(filepath.Join(s.Dir, first.file), filepath.Join(s.Dir, next)); err != nil {
			return "", err
		}
	}
	slot := first.stem[len(first.stem)-1:]
	if strings.HasSuffix(first.stem, "-recovery") || !loads(slot) {
		return Recovery, nil
	}
	return slot, nil
}

type counted struct {
	file, stem string
	rank       int // -1: none, which is below all
	left, done int
}

func parseCounted(stem string) counted {
	c := counted{file: stem + ".conf", stem: stem, left: -1}
	if name, counter, ok := strings.Cut(stem, "+"); ok {
		left, done, _ := strings.Cut(counter, "-")
		c.stem = name
		c.left, _ = strconv.Atoi(left)
		c.done, _ = strconv.Atoi(done)
	}
	c.rank = -1
	if parts := strings.Split(c.stem, "-"); len(parts) == 3 {
		c.rank, _ = strconv.Atoi(parts[1])
	}
	return c
}

func (c counted) compare(d counted) int {
	bad := func(c counted) int {
		if c.left == 0 {
			return 1
		}
		return 0
	}
	if r := bad(c) - bad(d); r != 0 {
		return r
	}
	if r := d.rank - c.rank; r != 0 {
		return r
	}
	if r := strings.Compare(d.stem, c.stem); r != 0 {
		return r
	}
	return d.left - c.left
}
