package boot

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"time"
)

// Format is how an environment lies on storage.
type Format int

const (
	// Redundant is U-Boot's CONFIG_SYS_REDUNDAND_ENVIRONMENT, and what fw_setenv
	// writes with two lines in its configuration: two copies, each with a flag
	// that is counted up and wraps; the newer of the whole ones holds.
	Redundant Format = iota
	// Sequence is two copies without a flag, of which the one with the higher
	// st_seq holds: what a boot script can read and write with "env import -c"
	// and "env export -c".
	Sequence
	// Single is U-Boot's environment in one copy. A power cut while it is written
	// loses it, and U-Boot goes back to the environment that it was built with.
	// Nothing can be done about that here: use it only where it is so already.
	Single
)

// Limits of an environment.
const (
	MaxEnv    = 1 << 20 // bytes of one copy
	minEnv    = 64
	maxSeq    = 1<<31 - 1 // U-Boot compares signed 32-bit numbers on small machines
	maxConfig = 64 << 10  // bytes of fw_env.config, and of the initial environment
)

// Copy is where one copy of an environment is.
type Copy struct {
	Path   string
	Offset int64 // negative: from the end
}

// EnvConfig says where an environment is.
type EnvConfig struct {
	Format Format
	Copies []Copy // two, or one for Single
	Size   int    // bytes of each copy
	// Initial is the text that a lost environment is made anew from, one
	// "name=value" a line, as in /etc/u-boot-initial-env. Without it a lost
	// environment of U-Boot's own formats is not made anew, for it would lack all
	// that the boot loader itself needs. Sequence needs none.
	Initial string
	// Lock is a file that is locked meanwhile; empty: the one of fw_setenv.
	Lock string
	Wait time.Duration // for the lock, at most; 0: DefaultWait
	Disk Disk          // nil: the real one
}

// NewEnv returns the boot loader state in a U-Boot environment. It reads and
// writes nothing yet.
func NewEnv(c EnvConfig, d Dialect) (Control, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("boot: %w", err)
	}
	if c.Disk == nil {
		c.Disk = realDisk{}
	}
	c.Lock, c.Wait = cmp.Or(c.Lock, DefaultLock), cmp.Or(c.Wait, DefaultWait)
	return control{worded{&env{c}, d}}, nil
}

// Dialect is one of Order, BootCount and Trial.
type Dialect interface{ dialect }

var (
	_ Dialect = Order{}
	_ Dialect = BootCount{}
	_ Dialect = Trial{}
)

func (c EnvConfig) check() error {
	want := 2
	if c.Format == Single {
		want = 1
	}
	if len(c.Copies) != want {
		return fmt.Errorf("the environment has %d copies, this format has %d", len(c.Copies), want)
	}
	if c.Size < minEnv || c.Size > MaxEnv {
		return fmt.Errorf("an environment of %d bytes: the limits are %d and %d", c.Size, minEnv, MaxEnv)
	}
	for _, copy := range c.Copies {
		if copy.Path == "" {
			return errors.New("a copy of the environment has no path")
		}
	}
	if want == 2 && c.Copies[0].Path == c.Copies[1].Path && overlap(c.Copies[0].Offset, c.Copies[1].Offset, c.Size) {
		return errors.New("the two copies of the environment overlap")
	}
	return nil
}

func overlap(a, b int64, size int) bool { return a < b+int64(size) && b < a+int64(size) }

// ParseFWEnvConfig reads fw_setenv's configuration as libubootenv does: lines
// of path, offset (decimal, or 0x), size (hexadecimal), and more that is only
// for flash chips. Lines that are not so are skipped; the first two count, and
// two mean Redundant.
func ParseFWEnvConfig(text string) (EnvConfig, error) {
	if len(text) > maxConfig {
		return EnvConfig{}, fmt.Errorf("boot: the configuration is longer than %d bytes", maxConfig)
	}
	c := EnvConfig{Format: Single}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, maxConfig+1)
	for lines.Scan() && len(c.Copies) < 2 {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		offset, err := strconv.ParseInt(fields[1], 0, 64)
		if err != nil {
			continue
		}
		size, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(fields[2]), "0x"), 16, 31)
		if err != nil {
			continue
		}
		if len(c.Copies) == 1 && int(size) != c.Size {
			return EnvConfig{}, errors.New("boot: the two copies of the environment are not of one size")
		}
		c.Size, c.Copies = int(size), append(c.Copies, Copy{fields[0], offset})
	}
	if err := lines.Err(); err != nil {
		return EnvConfig{}, fmt.Errorf("boot: %w", err)
	}
	if len(c.Copies) == 2 {
		c.Format = Redundant
	}
	if err := c.check(); err != nil {
		return EnvConfig{}, fmt.Errorf("boot: %w", err)
	}
	return c, nil
}

// env is the store in an environment.
type env struct{ EnvConfig }

var _ store = (*env)(nil)

// image is one copy as it was read.
type image struct {
	vars  *vars
	flag  byte
	seq   int64
	whole bool
}

// header is the bytes before the variables: CRC, and for Redundant the flag.
func (f Format) header() int {
	if f == Redundant {
		return 5
	}
	return 4
}

func (f Format) parse(raw []byte) image {
	data := raw[f.header():]
	if crc32.ChecksumIEEE(data) != binary.LittleEndian.Uint32(raw) {
		return image{}
	}
	list, err := parseVars(data)
	if err != nil {
		return image{}
	}
	im := image{vars: list, whole: true}
	switch f {
	case Redundant:
		im.flag = raw[4]
	case Sequence:
		seq, err := strconv.ParseUint(list.get(seqName), 16, 31)
		im.seq, im.whole = int64(seq), err == nil && seq < maxSeq
	}
	return im
}

const seqName = "st_seq"

// newer says whether copy 1 holds and not copy 0, as U-Boot and fw_setenv judge.
func (f Format) newer(zero, one image) bool {
	if !zero.whole || !one.whole {
		return one.whole
	}
	if f == Sequence {
		return one.seq > zero.seq
	}
	switch {
	case zero.flag == 0xff && one.flag == 0:
		return true
	case one.flag == 0xff && zero.flag == 0:
		return false
	}
	return one.flag > zero.flag
}

// read returns the copies, and the number of the one that holds.
func (e *env) read() (images []image, current int, err error) {
	for _, copy := range e.Copies {
		raw, err := readAt(copy.Path, e.Size, copy.Offset)
		if err != nil {
			return nil, 0, fmt.Errorf("read the environment: %w", err)
		}
		images = append(images, e.Format.parse(raw))
	}
	if len(images) == 2 && e.Format.newer(images[0], images[1]) {
		current = 1
	}
	return images, current, nil
}

func (e *env) load() (*vars, error) {
	images, current, err := e.read()
	if err != nil {
		return nil, err
	}
	if !images[current].whole {
		return nil, ErrNoState
	}
	return images[current].vars, nil
}

// save writes the older copy, or one that is not whole. The other one is not
// touched, so that a power cut leaves it to be read.
func (e *env) save(list *vars) error {
	images, current, err := e.read()
	if err != nil {
		return err
	}
	target := e.Copies[(current+1)%len(e.Copies)]
	raw, err := e.encode(list.clone(), images[current])
	if err != nil {
		return err
	}
	if err := e.Disk.WriteAt(target.Path, raw, target.Offset); err != nil {
		return fmt.Errorf("write the environment: %w", err)
	}
	if err := e.Disk.Sync(target.Path); err != nil {
		return fmt.Errorf("sync the environment: %w", err)
	}
	back, err := readBack(target.Path, e.Size, target.Offset)
	if err != nil {
		return fmt.Errorf("read the environment back: %w", err)
	}
	if !bytes.Equal(back, raw) {
		return fmt.Errorf("%s at %#x did not keep what was written: its storage is failing", target.Path, target.Offset)
	}
	return nil
}

// encode makes the copy that follows the one that holds.
func (e *env) encode(list *vars, before image) ([]byte, error) {
	if e.Format == Sequence {
		list.set(seqName, strconv.FormatInt(before.seq+1, 16))
	}
	data, err := list.encode(e.Size - e.Format.header())
	if err != nil {
		return nil, err
	}
	raw := binary.LittleEndian.AppendUint32(make([]byte, 0, e.Size), crc32.ChecksumIEEE(data))
	if e.Format == Redundant {
		raw = append(raw, before.flag+1)
	}
	return append(raw, data...), nil
}

func (e *env) initial() (*vars, error) {
	if e.Initial == "" && e.Format != Sequence {
		return nil, fmt.Errorf("%w, and there is no initial environment to make it from: give the text of the boot loader's default one (u-boot-initial-env)", ErrNoState)
	}
	if len(e.Initial) > maxConfig {
		return nil, fmt.Errorf("the initial environment is longer than %d bytes", maxConfig)
	}
	list := new(vars)
	for line := range strings.Lines(e.Initial) {
		line = strings.TrimRight(line, "\r\n")
		name, value, ok := strings.Cut(line, "=")
		if ok && name != "" && name[0] != '#' && !strings.Contains(line, "\x00") {
			list.set(name, value)
		}
	}
	return list, nil
}

func (e *env) lock() (func(), error) { return lockFile(e.Lock, e.Wait) }

// ReadFWEnvConfig reads the file that ParseFWEnvConfig takes.
func ReadFWEnvConfig(name string) (EnvConfig, error) {
	info, err := os.Stat(name)
	if err != nil {
		return EnvConfig{}, fmt.Errorf("boot: %w", err)
	}
	if info.Size() > maxConfig {
		return EnvConfig{}, fmt.Errorf("boot: %s is longer than %d bytes", name, maxConfig)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return EnvConfig{}, fmt.Errorf("boot: %w", err)
	}
	return ParseFWEnvConfig(string(text))
}
