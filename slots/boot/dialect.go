package boot

import (
	"slices"
	"strconv"
	"strings"
)

// fullTries is what a slot has that nobody counts down. The order script counts
// a slot only if it has less.
const fullTries = 3

// Order is the dialect of RAUC's contrib/uboot.sh: BOOT_ORDER, BOOT_A_LEFT and
// BOOT_B_LEFT, hexadecimal. A trial stands first in the order with one try; what
// is not bootable is not in the order. slip_good says which slot is permanent,
// since a slot with one try left could be either.
type Order struct {
	A, B string // names of the slots in BOOT_ORDER; empty: "A" and "B"
}

func (d Order) names() map[string]string { return naming(d.A, d.B, "A", "B") }

func (d Order) decode(vars *vars) view {
	v := view{ok: make(map[string]bool), left: make(map[string]int)}
	order := strings.Fields(vars.get("BOOT_ORDER"))
	for slot, name := range d.names() {
		v.left[slot] = hexTries(vars.get("BOOT_" + name + "_LEFT"))
		v.ok[slot] = v.left[slot] > 0 && (len(order) == 0 || slices.Contains(order, name))
	}
	first := d.first(order, v.ok)
	v.good = slotNamed(d.names(), vars.get("slip_good"))
	if v.good == "" {
		v.good = first
	}
	if v.good == "" {
		v.good = "a"
	}
	if first != v.good {
		v.trial = first
	}
	return v
}

// first is the slot that the script starts, or empty.
func (d Order) first(order []string, ok map[string]bool) string {
	if len(order) == 0 {
		order = []string{d.names()["a"], d.names()["b"]}
	}
	for _, name := range order {
		if slot := slotNamed(d.names(), name); ok[slot] {
			return slot
		}
	}
	return ""
}

func (d Order) encode(v view, vars *vars) {
	order := []string{v.good}
	left := map[string]int{v.good: fullTries}
	switch rest := other(v.good); {
	case v.trial == rest:
		order, left[rest] = []string{rest, v.good}, 1
	case v.ok[rest]:
		order, left[rest] = []string{v.good, rest}, fullTries
	}
	var named []string
	for _, slot := range order {
		named = append(named, d.names()[slot])
	}
	for name := range strings.FieldsSeq(vars.get("BOOT_ORDER")) {
		if slotNamed(d.names(), name) == "" {
			named = append(named, name) // such as a third system for rescue
		}
	}
	vars.set("BOOT_ORDER", strings.Join(named, " "))
	for _, slot := range names {
		key := "BOOT_" + d.names()[slot] + "_LEFT"
		if have := vars.get(key); have == "" || hexTries(have) != left[slot] {
			vars.set(key, strconv.FormatInt(int64(left[slot]), 16))
		}
	}
	vars.set("slip_good", d.names()[v.good])
}

// hexTries reads a counter as the script does, for which a missing one is full.
func hexTries(text string) int {
	if text == "" {
		return fullTries
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// BootCount is the dialect of U-Boot's own CONFIG_BOOTCOUNT_ENV: bootcount,
// bootlimit and upgrade_available, decimal, and a variable that says which slot
// bootcmd starts. While upgrade_available is 1 that slot is on trial and the
// other one is permanent, to which altbootcmd goes back.
type BootCount struct {
	Variable string // that says which slot; empty: "bootslot"
	A, B     string // its values; empty: "a" and "b"
}

func (d BootCount) names() map[string]string { return naming(d.A, d.B, "a", "b") }

func (d BootCount) variable() string {
	if d.Variable == "" {
		return "bootslot"
	}
	return d.Variable
}

func (d BootCount) decode(vars *vars) view {
	slot := slotNamed(d.names(), vars.get(d.variable()))
	if slot == "" {
		slot = "a"
	}
	spare := slotNamed(d.names(), vars.get("bootslot_spare"))
	v := view{good: slot, ok: map[string]bool{slot: true, spare: true}, left: map[string]int{"a": -1, "b": -1}}
	if decimal(vars.get("upgrade_available")) == 0 {
		return v
	}
	v.good = other(slot)
	limit, count := decimal(vars.get("bootlimit")), decimal(vars.get("bootcount"))
	v.left[slot] = max(0, limit-count)
	v.ok = map[string]bool{v.good: true, slot: limit == 0 || count < limit}
	if v.ok[slot] {
		v.trial = slot
	}
	return v
}

func (d BootCount) encode(v view, vars *vars) {
	if v.trial != "" {
		vars.set("bootcount", "0")
		vars.set("bootlimit", "1")
		vars.set("upgrade_available", "1")
		vars.set("bootslot_spare", "")
		vars.set(d.variable(), d.names()[v.trial])
		return
	}
	if decimal(vars.get("upgrade_available")) != 0 {
		vars.set("upgrade_available", "0")
		vars.set("bootcount", "0")
	}
	spare := ""
	if rest := other(v.good); v.ok[rest] {
		spare = d.names()[rest]
	}
	vars.set("bootslot_spare", spare)
	vars.set(d.variable(), d.names()[v.good])
}

// decimal reads a number as U-Boot's env_get_ulong does: what is none is 0.
func decimal(text string) int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// Trial is the dialect that was made for this purpose: st_good, st_try and
// st_tries, hexadecimal, and st_failed: a slot that is not to be started,
// because its trial failed or because it is being written.
type Trial struct {
	A, B string // names of the slots; empty: "A" and "B"
}

func (d Trial) names() map[string]string { return naming(d.A, d.B, "A", "B") }

func (d Trial) decode(vars *vars) view {
	good := slotNamed(d.names(), vars.get("st_good"))
	if good == "" {
		good = "a" // the script's default
	}
	try := slotNamed(d.names(), vars.get("st_try"))
	v := view{good: good, ok: map[string]bool{"a": true, "b": true}, left: map[string]int{"a": -1, "b": -1}}
	v.ok[slotNamed(d.names(), vars.get("st_failed"))] = false
	v.ok[good] = true // the script starts it whatever st_failed says
	if try == "" || try == good {
		return v
	}
	v.left[try] = 0
	if tries := vars.get("st_tries"); tries != "" {
		v.left[try] = hexTries(tries)
	}
	v.ok[try] = v.left[try] > 0
	if v.ok[try] {
		v.trial = try
	}
	return v
}

func (d Trial) encode(v view, vars *vars) {
	failed := ""
	if rest := other(v.good); !v.ok[rest] {
		failed = d.names()[rest]
	}
	vars.set("st_good", d.names()[v.good])
	vars.set("st_failed", failed)
	if v.trial == "" {
		vars.set("st_try", "")
		vars.set("st_tries", "")
		return
	}
	vars.set("st_try", d.names()[v.trial])
	vars.set("st_tries", "1")
}

func naming(a, b, defaultA, defaultB string) map[string]string {
	if a == "" || b == "" {
		a, b = defaultA, defaultB
	}
	return map[string]string{"a": a, "b": b}
}

func slotNamed(names map[string]string, name string) string {
	for slot, n := range names {
		if n == name {
			return slot
		}
	}
	return ""
}
