package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// benchImage is how large the measured package's image is.
const benchImage = 256 << 20

// Verifying a package as a process of its own, beside openssl hashing the same file.
// On two cores the two hashes of each byte cost the time of one; on one they cost
// both. They take turns, and the quickest of each are compared: the machine is not ours
// alone.
func BenchmarkVerifyPackage(b *testing.B) {
	path, trust := benchPackage(b)
	for _, cores := range []int{1, 2} {
		b.Run(fmt.Sprintf("cores=%d", cores), func(b *testing.B) {
			ours, peer, peak := math.Inf(1), math.Inf(1), 0.0
			for b.Loop() {
				peer = min(peer, spent(b, "openssl", "dgst", "-sha256", path).Seconds())
				v := verifiedBy(b, path, trust, cores)
				ours, peak = min(ours, v.Seconds), max(peak, v.PeakMB)
			}
			b.ReportMetric(ours/peer, "x-openssl")
			b.ReportMetric(ours*1000, "ms")
			b.ReportMetric(peak, "MB-peak")
		})
	}
}

// What is left when nothing has to be hashed: signatures, manifest, layout and index
// of that package, from memory.
func BenchmarkVerifyHead(b *testing.B) {
	b.Run("key", func(b *testing.B) {
		f := newFixture(b)
		opening(b, func() (*verify.Package, error) {
			return verify.Open(bytes.NewReader(f.file), int64(len(f.file)), f.trust, f.dev)
		})
	})
	b.Run("order", func(b *testing.B) { // two signatures under a root, an order
		w := newTrustWorld(newFixture(b)).enrolled()
		file := w.packed(files(w.good(), 2, 2))
		opening(b, func() (*verify.Package, error) { return w.open(file) })
	})
	b.Run("roots", func(b *testing.B) { // and a new root of the vendor and of the fleet
		w := newTrustWorld(newFixture(b)).enrolled()
		h := w.good()
		h.VendorRoots = [][]byte{next(w.vendor, nil).Sign(b, w.vendor.Root.Keys...)}
		h.FleetRoots = [][]byte{next(w.fleet, nil).Sign(b, w.fleet.Root.Keys...)}
		file := w.packed(files(h, 2, 2))
		opening(b, func() (*verify.Package, error) { return w.open(file) })
	})
	b.Run("index", func(b *testing.B) { // that of 256 MiB
		path, trustFile := benchPackage(b)
		trust, err := verify.LoadTrust(trustFile)
		if err != nil {
			b.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			b.Fatal(err)
		}
		opening(b, func() (*verify.Package, error) { return verify.Inspect(f, info.Size(), trust) })
	})
}

func opening(b *testing.B, open func() (*verify.Package, error)) {
	b.Helper()
	b.ReportAllocs()
	least := math.Inf(1)
	for b.Loop() {
		start := time.Now()
		if _, err := open(); err != nil {
			b.Fatal(err)
		}
		least = min(least, time.Since(start).Seconds()*1000)
	}
	b.ReportMetric(least, "ms")
}

// benchPackage is a package with an image of noise, and the keys to trust.
func benchPackage(b *testing.B) (path, trust string) {
	b.Helper()
	dir := b.TempDir()
	image := filepath.Join(dir, "root.img")
	f, err := os.OpenFile(image, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{3}), benchImage); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	key := newKey(b)
	path, err = pack.BuildFile(b.Context(), filepath.Join(dir, "out"), pack.Options{
		Images:   []pack.Source{{Name: "root.img", Class: verify.ClassLive, Kind: verify.KindDisk, Path: image}},
		Manifest: template(), Key: key,
	})
	if err != nil {
		b.Fatal(err)
	}
	trust = filepath.Join(dir, "trust.pub")
	writeFile(b, trust, string(publicPEM(b, key)), 0o600)
	return path, trust
}

// spent is how long a program of another maker takes.
func spent(b *testing.B, name string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), name, args...)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", name, err, out)
	}
	return time.Since(start)
}

// verified is what the helper process says of itself.
type verified struct {
	Seconds float64
	PeakMB  float64
}

// Variables by which the test binary becomes the helper process.
const (
	helperPackage = "SLIPSTREAM_TEST_PACKAGE"
	helperTrust   = "SLIPSTREAM_TEST_TRUST"
	helperCores   = "GOMAXPROCS"
)

func verifiedBy(b *testing.B, path, trust string, cores int) verified {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self)
	cmd.Env = append(os.Environ(), helperPackage+"="+path, helperTrust+"="+trust, helperCores+"="+strconv.Itoa(cores))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	var v verified
	if err := json.Unmarshal(out, &v); err != nil {
		b.Fatal(err)
	}
	return v
}

func TestMain(m *testing.M) {
	path := os.Getenv(helperPackage)
	if path == "" {
		os.Exit(m.Run())
	}
	if err := helper(path, os.Getenv(helperTrust)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// helper verifies one package and says what it took.
func helper(path, trustFile string) error {
	start := time.Now()
	trust, err := verify.LoadTrust(trustFile)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p, err := verify.Inspect(f, info.Size(), trust)
	if err != nil {
		return err
	}
	if err := p.CheckAll(context.Background()); err != nil {
		return err
	}
	took := time.Since(start)
	peak, err := peakMB()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(verified{took.Seconds(), peak})
}

// peakMB is the most memory that this process has had, in megabytes.
func peakMB() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(status, []byte("VmHWM:"))
	if !ok {
		return 0, errors.New("the kernel does not tell the peak of memory")
	}
	var kb float64
	if _, err := fmt.Sscan(string(rest), &kb); err != nil {
		return 0, err
	}
	return kb / 1024, nil
}
