package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// report is what inspect --json prints.
type report struct {
	Digest    string          `json:"digest"`
	Signature string          `json:"signature"` // "trusted" or "not checked"
	KeyID     string          `json:"keyId"`     // that signed; of an unchecked package: that it claims
	Signers   []signerLine    `json:"signers"`
	Roots     []rootLine      `json:"roots,omitempty"` // that the package carries
	Order     *orderLine      `json:"order,omitempty"`
	Device    *opinion        `json:"device,omitempty"` // what the device described says
	Members   []verify.Member `json:"members"`
	Manifest  verify.Manifest `json:"manifest"`
	Chunks    []chunkLine     `json:"chunks"`
}

// chunkLine sums up an image's chunks.
type chunkLine struct {
	Image   string `json:"image"`
	Count   int    `json:"count"`
	Least   int64  `json:"least"` // bytes
	Average int64  `json:"average"`
	Most    int64  `json:"most"`
}

type inspectFlags struct {
	trust  string
	json   bool
	device deviceFlags
}

func inspectCommand() *cobra.Command {
	var flags inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect [--trust FILE] [--json] PACKAGE",
		Short: "Show what is in a package; nothing of it is run or unpacked",
		Long: `Show a package's digest, signers, members, chunks and app contract, its roots and
its fleet's order. Nothing of it is run or unpacked. Without --trust signatures are
not checked, and what is shown is only what the package says of itself.

If a device is described, it also shows what that device would say.` + deviceHelp + exitHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := inspect(args[0], flags)
			if err != nil {
				return err
			}
			if flags.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return r.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&flags.trust, "trust", "", "vendor's root, or file of trusted public keys")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print JSON")
	flags.device.define(cmd)
	return cmd
}

func inspect(path string, flags inspectFlags) (report, error) {
	dev, err := flags.device.read()
	if err != nil {
		return report{}, err
	}
	if dev != nil && flags.trust == "" {
		return report{}, errors.New("--trust is missing: a device trusts a vendor's root, or a file of keys")
	}
	var trust *verify.Trust
	if flags.trust != "" {
		if trust, err = verify.LoadTrust(flags.trust); err != nil {
			return report{}, err
		}
	}
	var said *opinion
	p, done, err := openPackage(path, func(f *os.File, size int64) (*verify.Package, error) {
		if dev != nil {
			if said, err = ask(f, size, trust, dev); err != nil {
				return nil, err
			}
		}
		if trust == nil {
			return verify.Unverified(f, size)
		}
		return verify.Inspect(f, size, trust)
	})
	if err != nil {
		return report{}, err
	}
	defer done()
	return describePackage(path, p, trust, dev, said)
}

func describePackage(path string, p *verify.Package, trust *verify.Trust, dev *verify.Device, said *opinion) (report, error) {
	r := report{Digest: p.Digest, Signature: "not checked", KeyID: cmp.Or(p.Signer, p.Hint), Members: p.Members, Manifest: p.Manifest, Device: said}
	if trust != nil {
		r.Signature = "trusted"
	}
	f, err := pack.OpenFile(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	if p.Learned.Vendor != nil {
		trust = p.Learned.Vendor.Trust() // it decided
	}
	r.Signers = signersOf(f, p.Signers, trust)
	if r.Roots, err = rootsOf(f); err != nil {
		return r, asRefused(err)
	}
	var fleet *verify.Root
	if dev != nil && dev.Fleet != nil {
		fleet = dev.Fleet.Root
	}
	if r.Order, err = orderOf(f, fleet); err != nil {
		return r, asRefused(err)
	}
	for _, payload := range p.Images() {
		r.Chunks = append(r.Chunks, sumUp(payload))
	}
	return r, nil
}

func sumUp(p *verify.Payload) chunkLine {
	line := chunkLine{Image: p.Image.Name, Count: len(p.Chunks), Average: p.Image.Size / int64(len(p.Chunks)), Least: verify.MaxChunk}
	for _, c := range p.Chunks {
		line.Least = min(line.Least, int64(c.Length))
		line.Most = max(line.Most, int64(c.Length))
	}
	return line
}

// print writes for people. The texts are safe to show: validation let only
// printable ones pass, and quotes what it did not restrict.
func (r report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	m := r.Manifest
	fmt.Fprintf(w, "%s %s\n", m.Product, m.Version)
	fmt.Fprintf(w, "digest\t%s\n", r.Digest)
	fmt.Fprintf(w, "signature\t%s\n", r.Signature)
	for _, s := range r.Signers {
		fmt.Fprintf(w, "signer\t%q: %s\n", s.KeyID, s.Says)
	}
	for _, root := range r.Roots {
		fmt.Fprintf(w, "carries\t%s's root %d, expires %s\n", root.Kind, root.Version, root.Expires.Format(time.DateOnly))
	}
	r.Order.print(w)
	fmt.Fprintf(w, "hardware\t%s\n", strings.Join(m.Hardware, ", "))
	fmt.Fprintf(w, "release\t%d (security epoch %d)\n", m.ReleaseCounter, m.SecurityEpoch)
	if m.MinFromCounter > 0 {
		fmt.Fprintf(w, "follows\trelease %d or later\n", m.MinFromCounter)
	}
	fmt.Fprintf(w, "issued\t%s\n", m.IssuedAt.Format(time.RFC3339))
	if !m.Expires.IsZero() {
		fmt.Fprintf(w, "expires\t%s\n", m.Expires.Format(time.RFC3339))
	}
	if m.Notes != "" {
		fmt.Fprintf(w, "notes\t%s\n", strings.ReplaceAll(m.Notes, "\n", "\n\t"))
	}
	r.printMembers(w)
	printApp(w, m.App)
	r.Device.print(w)
	return w.Flush()
}

func (r report) printMembers(w io.Writer) {
	fmt.Fprintln(w, "\nmember\toffset\tsize\tsha256")
	for _, m := range r.Members {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", m.Name, m.Offset, m.Size, m.SHA256)
	}
	for _, i := range r.Manifest.Images {
		fmt.Fprintf(w, "%s is the %s slot's image, of kind %s\n", i.Name, i.Class, i.Kind)
		if e := i.Encryption; e != nil {
			fmt.Fprintf(w, "%s is encrypted by %s, and decrypted has %d bytes with sha256 %s\n", i.Name, e.Format, e.Size, e.SHA256)
		}
	}
	for _, i := range r.Manifest.Images {
		if v := i.Verity; v != nil {
			fmt.Fprintf(w, "%s has a verity tree at %d over %d blocks of %d bytes, with the root hash %s\n", i.Name, v.HashOffset, v.DataBlocks, v.BlockSize, v.RootHash)
		}
	}
	for _, c := range r.Chunks {
		fmt.Fprintf(w, "%s is cut into %d chunks of %d to %d bytes, %d on average\n", c.Image, c.Count, c.Least, c.Most, c.Average)
	}
}

func printApp(w io.Writer, a *verify.App) {
	fmt.Fprintf(w, "\napp\t%q\n", a.Exec)
	for _, s := range a.Streams {
		printStream(w, s)
	}
	fmt.Fprintf(w, "overlap\t%s\n", a.Overlap)
	fmt.Fprintf(w, "greenlight\tby %s within %d ms, after %d ms of soak\n", a.Greenlight, a.DeadlineMS, a.SoakMS)
	fmt.Fprintf(w, "start, stop\t%d ms, %d ms\n", a.StartTimeoutMS, a.StopTimeoutMS)
	if a.WatchdogMS > 0 {
		fmt.Fprintf(w, "watchdog\t%d ms\n", a.WatchdogMS)
	}
	fmt.Fprintf(w, "restarts\tat most %d in %d ms\n", a.RestartMax, a.RestartWindow)
	if a.FallbackForMS != nil {
		fmt.Fprintf(w, "left, if it keeps ending\twithin %d ms\n", *a.FallbackForMS)
	}
	if a.PublishRTSP {
		fmt.Fprintln(w, "publishes\tby RTSP")
	}
}

func printStream(w io.Writer, s verify.Stream) {
	what := s.Codec
	if !s.Sound() {
		what += fmt.Sprintf(" %dx%d", s.Width, s.Height)
	}
	if s.Profile != "" {
		what += ", profile " + s.Profile
	}
	switch {
	case s.Events:
		what += ", frames on events"
	case s.StallMS > 0:
		what += fmt.Sprintf(", stall limit %d ms", s.StallMS)
	default:
		what += ", the device's stall limit"
	}
	if s.Audio != "" {
		what += ", sound from " + s.Audio
	}
	fmt.Fprintf(w, "stream\t%s: %s\n", s.Name, what)
	for _, i := range s.Invariants {
		fmt.Fprintf(w, "invariant\t%s.%s: %s\n", s.Name, i.Name, i)
	}
}
