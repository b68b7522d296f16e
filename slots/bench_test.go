package slots_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/slots"
	"slipstream/slots/chunk"
)

var (
	benchOut  = flag.String("bench.slots", "", "measure what staging costs, beside a floor and rauc, and write the figures to this file")
	benchDir  = flag.String("bench.dir", "", "the directory to measure in, on the disk that counts")
	benchRuns = flag.Int("bench.runs", 9, "how often everything is measured, in turns")
)

// benchVar makes this program do one job and print what it took. A process of its
// own has no more memory than the job needs.
const benchVar = "SLOTS_BENCH"

func init() {
	job := os.Getenv(benchVar)
	if job == "" {
		return
	}
	f := strings.Fields(job)
	took, err := map[string]func([]string) (cost, error){"floor": floorJob, "stage": stageJob}[f[0]](f[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(took)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// cost is what a job took.
type cost struct {
	Seconds float64      `json:"seconds"`
	PeakMiB float64      `json:"peakMiB"`
	Report  slots.Report `json:"report"`

	SecondSeconds float64      `json:"secondSeconds"` // of the same once more
	Second        slots.Report `json:"second"`
}

func do(t *testing.T, job ...string) cost {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), benchVar+"="+strings.Join(job, " "))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", job, err)
	}
	var c cost
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// peak is the most memory that this process has had at once.
func peak() float64 {
	raw, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	kib, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
	return kib / 1024
}

// writeImage puts an image on disk, and its list of chunks beside, cut as packages
// are.
func writeImage(t testing.TB, path string, raw []byte) {
	t.Helper()
	var index []byte
	err := chunk.Cut(t.Context(), bytes.NewReader(raw), func(data []byte) error {
		sum := sha256.Sum256(data)
		index = append(binary.BigEndian.AppendUint32(index, uint32(len(data))), sum[:]...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, raw, 0o600), os.WriteFile(path+".chunks", index, 0o600)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	if err := os.WriteFile(path+".sha256", sum[:], 0o600); err != nil {
		t.Fatal(err)
	}
}

// stageJob stages IMAGE into slot SLOT below DIR, or its partition, with the slot
// INUSE in use.
func stageJob(f []string) (cost, error) {
	image, dir, slot, inUse, partition := f[0], f[1], f[2], f[3], f[4]
	o := slots.Options{}
	if partition != "-" {
		o.Partitions = map[string]string{"a": partition, "b": "/dev/null"}
	}
	file, err := os.Open(image)
	if err != nil {
		return cost{}, err
	}
	index, err := os.ReadFile(image + ".chunks")
	if err != nil {
		return cost{}, err
	}
	sum, err := os.ReadFile(image + ".sha256")
	if err != nil {
		return cost{}, err
	}
	info, err := file.Stat()
	if err != nil {
		return cost{}, err
	}
	c := slots.Content{
		Digest: image, Version: "1", Kind: slots.KindSquashfs, Size: info.Size(), SHA256: [32]byte(sum),
		Image: slots.File(file), Manifest: []byte("manifest"),
	}
	for ; len(index) > 0; index = index[36:] {
		c.Chunks = append(c.Chunks, slots.Chunk{Length: binary.BigEndian.Uint32(index), SHA256: [32]byte(index[4:36])})
	}
	s, err := slots.Open(dir, o)
	if err != nil {
		return cost{}, err
	}
	begun := time.Now()
	r, err := s.Stage(context.Background(), slot, c, slots.StageOptions{InUse: strings.Trim(inUse, "-")})
	took := cost{Seconds: time.Since(begun).Seconds(), PeakMiB: peak(), Report: r}
	begun = time.Now()
	if err == nil {
		took.Second, err = s.Stage(context.Background(), slot, c, slots.StageOptions{})
	}
	took.SecondSeconds = time.Since(begun).Seconds()
	return took, errors.Join(err, s.Close())
}

// floorJob is the least that has to be done: IMAGE is written to TARGET past the
// page cache while it is hashed, synced, and read back and hashed again.
func floorJob(f []string) (cost, error) {
	in, err := os.Open(f[0])
	if err != nil {
		return cost{}, err
	}
	info, err := in.Stat()
	if err != nil {
		return cost{}, err
	}
	size := info.Size()
	begun := time.Now()
	out, err := os.OpenFile(f[1], os.O_CREATE|os.O_RDWR|unix.O_DIRECT, 0o600)
	if err != nil {
		return cost{}, err
	}
	if f[2] == "file" {
		if err := unix.Fallocate(int(out.Fd()), 0, 0, size); err != nil {
			return cost{}, err
		}
	}
	first, err := overlap(size, in.ReadAt, out.WriteAt)
	if err == nil {
		err = out.Sync()
	}
	if err != nil {
		return cost{}, err
	}
	second, err := overlap(size, out.ReadAt, nil)
	if err == nil && !bytes.Equal(first, second) {
		err = errors.New("read back otherwise")
	}
	return cost{Seconds: time.Since(begun).Seconds(), PeakMiB: peak()}, errors.Join(err, out.Close())
}

// overlap hashes what it reads while another goroutine reads on, or writes.
func overlap(size int64, read, write func([]byte, int64) (int, error)) ([]byte, error) {
	type piece struct {
		buf []byte
		off int64
	}
	const n = 1 << 20
	full, empty := make(chan piece, 3), make(chan piece, 3)
	for range 3 {
		buf, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return nil, err
		}
		empty <- piece{buf: buf}
	}
	sum := sha256.New()
	failed := make(chan error, 1)
	go func() {
		defer close(full)
		for off := int64(0); off < size; off += n {
			p := <-empty
			p.off = off
			if _, err := read(p.buf, off); err != nil && !errors.Is(err, io.EOF) {
				failed <- err
				return
			}
			if write != nil {
				sum.Write(p.buf)
			}
			full <- p
		}
		failed <- nil
	}()
	for p := range full {
		if write == nil {
			sum.Write(p.buf)
		} else if _, err := write(p.buf, p.off); err != nil {
			return nil, err
		}
		empty <- p
	}
	return sum.Sum(nil), <-failed
}

// TestBench measures with the flag -bench.slots, and otherwise that the benchmark
// itself works, with a small image.
func TestBench(t *testing.T) {
	b := &slotsBench{T: t, dir: t.TempDir(), size: 4 << 20, runs: 1, seconds: map[string][]float64{}, figures: map[string]float64{}}
	if *benchOut != "" {
		var err error
		if b.dir, err = os.MkdirTemp(*benchDir, "bench"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(b.dir) })
		b.size, b.runs = 256<<20, *benchRuns
	}
	b.image = filepath.Join(b.dir, "image")
	writeImage(t, b.image, noise(1, b.size))
	for range b.runs {
		b.inFile()
		b.inPartition()
	}
	if *benchOut != "" {
		b.rauc()
		b.patch()
		b.print()
	}
}

type slotsBench struct {
	*testing.T
	dir, image string
	size, runs int
	seconds    map[string][]float64
	figures    map[string]float64
}

func (b *slotsBench) note(name string, c cost) {
	b.seconds[name] = append(b.seconds[name], c.Seconds)
	if strings.HasPrefix(name, "stage") || strings.HasPrefix(name, "again") {
		b.figures["peak_mib"] = max(b.figures["peak_mib"], c.PeakMiB)
	}
}

func (b *slotsBench) remove(names ...string) {
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(b.dir, name)); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *slotsBench) inFile() {
	b.note("floor, new file", do(b.T, "floor", b.image, filepath.Join(b.dir, "floor"), "file"))
	b.remove("floor")
	first := do(b.T, "stage", b.image, filepath.Join(b.dir, "set"), "a", "-", "-")
	b.note("stage, new file", first)
	b.note("again", cost{Seconds: first.SecondSeconds})
	again := do(b.T, "stage", b.image, filepath.Join(b.dir, "set"), "a", "-", "-")
	b.note("again, by a process that has not read it", again)
	for _, r := range []slots.Report{first.Second, again.Report} {
		b.figures["again, bytes written"] += float64(r.Written)
		if r.Written != 0 || r.Kept != int64(b.size) {
			b.Errorf("staged again: %+v", r)
		}
	}
	b.remove("set")
}

func (b *slotsBench) inPartition() {
	partition := b.partition()
	b.note("floor, partition", do(b.T, "floor", b.image, partition, "partition"))
	b.note("stage, partition", do(b.T, "stage", b.image, filepath.Join(b.dir, "set"), "a", "-", partition))
	b.remove("set")
}

// partition is a loop device where there can be one, else a file of a partition's
// size.
func (b *slotsBench) partition() string {
	path := filepath.Join(b.dir, "partition")
	if _, err := os.Stat(path); err == nil {
		out, _ := exec.Command("losetup", "--noheadings", "--output", "NAME", "--associated", path).Output()
		if device := strings.TrimSpace(string(out)); device != "" {
			return device
		}
		return path
	}
	if err := os.WriteFile(path, make([]byte, b.size+1<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", path).CombinedOutput()
	if err != nil {
		b.Logf("the partition is a file, since there is no loop device: %s", out)
		return path
	}
	device := strings.TrimSpace(string(out))
	b.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			b.Errorf("detach %s: %v: %s", device, err, out)
		}
	})
	return device
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

// print shows the figures and writes them down.
func (b *slotsBench) print() {
	for name, all := range b.seconds {
		b.figures[name+", seconds"] = median(all)
	}
	for _, where := range []string{"new file", "partition"} {
		stage, floor := b.seconds["stage, "+where], b.seconds["floor, "+where]
		b.figures["stage / floor, "+where] = median(stage) / median(floor)
		b.figures["stage / floor, "+where+", best of each"] = slices.Min(stage) / slices.Min(floor) // what others do here disturbs it less
	}
	for _, again := range []string{"again", "again, by a process that has not read it"} {
		b.figures["stage / "+again] = median(b.seconds["stage, new file"]) / median(b.seconds[again])
	}
	if rauc := median(b.seconds["rauc plain, partition"]); rauc > 0 {
		b.figures["rauc plain / stage, partition"] = rauc / median(b.seconds["stage, partition"])
	}
	for _, name := range slices.Sorted(maps.Keys(b.figures)) {
		fmt.Printf("%-48s %12.3f\n", name, b.figures[name])
	}
	raw, err := json.MarshalIndent(b.figures, "", "\t")
	if err == nil {
		err = os.WriteFile(*benchOut, append(raw, '\n'), 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
}
