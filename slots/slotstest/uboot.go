package slotstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"strings"

	"slipstream/slots/boot"
)

// UBoot is U-Boot with an environment in a file.
type UBoot struct {
	Path    string
	Offsets []int64 // of the copies
	Size    int     // bytes of each
	Format  boot.Format
	Script  Script
}

// Script is what U-Boot runs: it may change variables, save them, and start a
// slot, which returns if the slot cannot be loaded.
type Script func(env map[string]string, save func() error, start func(slot string) bool) error

var _ Loader = UBoot{}

// Boot implements Loader. Without a whole copy U-Boot has the environment that
// it was built with, which is empty here.
func (u UBoot) Boot(loads func(slot string) bool) (string, error) {
	raw, err := os.ReadFile(u.Path)
	if err != nil {
		return "", err
	}
	vars, current, count := u.load(raw)
	started := Recovery
	start := func(slot string) bool {
		if started == Recovery && loads(slot) {
			started = slot
		}
		return started != Recovery
	}
	save := func() error { return u.save(vars, current, count) }
	if err := u.Script(vars, save, start); err != nil {
		return "", err
	}
	return started, nil
}

// load returns the variables, the number of the copy that holds (-1: none), and
// its flag or sequence.
func (u UBoot) load(raw []byte) (vars map[string]string, current int, count int) {
	vars, current = make(map[string]string), -1
	for i, offset := range u.Offsets {
		part := raw[offset:][:u.Size]
		data := part[4:]
		if u.Format == boot.Redundant {
			data = part[5:]
		}
		if crc32.ChecksumIEEE(data) != binary.LittleEndian.Uint32(part) {
			continue
		}
		these := make(map[string]string)
		for line := range strings.SplitSeq(string(data), "\x00") {
			if line == "" {
				break
			}
			name, value, _ := strings.Cut(line, "=")
			these[name] = value
		}
		n := int(part[4])
		if u.Format == boot.Sequence {
			seq, _ := strconv.ParseInt(these["st_seq"], 16, 64)
			n = int(seq)
		}
		if current < 0 || u.newer(n, count) {
			vars, current, count = these, i, n
		}
	}
	return vars, current, count
}

// newer is env_check_redund of env/common.c, and what the script compares.
func (u UBoot) newer(n, than int) bool {
	if u.Format == boot.Redundant && (n == 0xff && than == 0 || n == 0 && than == 0xff) {
		return n == 0
	}
	return n > than
}

// save is env_save, or "env export" and a write.
func (u UBoot) save(vars map[string]string, current, count int) error {
	if u.Format == boot.Sequence {
		vars["st_seq"] = strconv.FormatInt(int64(count+1), 16)
	}
	var lines []string
	for name, value := range vars {
		if value != "" {
			lines = append(lines, name+"="+value+"\x00")
		}
	}
	slices.Sort(lines)
	part := make([]byte, u.Size)
	data := part[4:]
	if u.Format == boot.Redundant {
		part[4] = byte(count + 1)
		data = part[5:]
	}
	if copy(data, strings.Join(lines, "")+"\x00") < len(strings.Join(lines, ""))+1 {
		return errors.New("the environment is full")
	}
	binary.LittleEndian.PutUint32(part, crc32.ChecksumIEEE(data))
	target := 0
	if len(u.Offsets) == 2 && current == 0 {
		target = 1
	}
	return patch(u.Path, part, u.Offsets[target])
}

// TrialScript is scripts/trial.cmd of package boot.
func TrialScript(env map[string]string, save func() error, start func(string) bool) error {
	good, try, tries := env["st_good"], env["st_try"], hex(env["st_tries"])
	if good == "" {
		good = "A"
	}
	slot := good
	if try != "" {
		if tries > 0 {
			env["st_tries"], slot = fmt.Sprintf("%x", tries-1), try
		} else {
			env["st_failed"], env["st_try"] = try, ""
		}
		env["st_good"] = good
		if err := save(); err != nil {
			return err
		}
	}
	if start(strings.ToLower(slot)) {
		return nil
	}
	rest := good
	if slot == good {
		rest = map[string]string{"A": "B", "B": "A"}[good]
	}
	if rest != env["st_failed"] && rest != env["st_try"] {
		start(strings.ToLower(rest))
	}
	return nil
}

// OrderScript is scripts/order.cmd of package boot.
func OrderScript(env map[string]string, save func() error, start func(string) bool) error {
	defaults(env)
	for name := range strings.FieldsSeq(env["BOOT_ORDER"]) {
		key := "BOOT_" + name + "_LEFT"
		left := hex(env[key])
		if left == 0 || name != "A" && name != "B" {
			continue
		}
		if left < 3 {
			env[key] = fmt.Sprintf("%x", left-1)
			if err := save(); err != nil {
				return err
			}
		}
		if start(strings.ToLower(name)) {
			return nil
		}
	}
	return nil
}

// RAUCScript is RAUC's contrib/uboot.sh, which saves at every boot, and gives
// all tries back when there are none left; that reset is followed here by the
// next boot. If the slot it chose cannot be loaded it is back at the prompt.
func RAUCScript(env map[string]string, save func() error, start func(string) bool) error {
	defaults(env)
	for range 2 {
		for name := range strings.FieldsSeq(env["BOOT_ORDER"]) {
			key := "BOOT_" + name + "_LEFT"
			if left := hex(env[key]); left > 0 {
				env[key] = fmt.Sprintf("%x", left-1)
				if err := save(); err != nil {
					return err
				}
				start(strings.ToLower(name))
				return nil
			}
		}
		env["BOOT_A_LEFT"], env["BOOT_B_LEFT"] = "3", "3"
		if err := save(); err != nil {
			return err
		}
	}
	return nil
}

func defaults(env map[string]string) {
	for name, value := range map[string]string{"BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"} {
		if env[name] == "" {
			env[name] = value
		}
	}
}

// BootCountScript is scripts/bootcount.env of package boot under what U-Boot
// does by itself: bootcount_inc and bootcount_error of include/bootcount.h with
// drivers/bootcount/bootcount_env.c, which count and save only while
// upgrade_available is set, and run altbootcmd once bootcount is above bootlimit.
func BootCountScript(env map[string]string, save func() error, start func(string) bool) error {
	number := func(name string) int {
		n, _ := strconv.Atoi(env[name])
		return n
	}
	flip := map[string]string{"a": "b", "b": "a"}
	if number("upgrade_available") != 0 {
		env["bootcount"] = strconv.Itoa(number("bootcount") + 1)
		if err := save(); err != nil {
			return err
		}
		if limit := number("bootlimit"); limit != 0 && number("bootcount") > limit {
			env["bootslot"], env["bootslot_spare"] = flip[env["bootslot"]], ""
			env["upgrade_available"], env["bootcount"] = "0", "0"
			if err := save(); err != nil {
				return err
			}
		}
	}
	slot := env["bootslot"]
	if slot == "" {
		slot = "a"
	}
	if start(slot) {
		return nil
	}
	if env["upgrade_available"] == "1" {
		start(flip[slot])
	} else if env["bootslot_spare"] != "" {
		start(env["bootslot_spare"])
	}
	return nil
}

func hex(text string) int {
	n, _ := strconv.ParseInt(text, 16, 32)
	return int(n)
}
