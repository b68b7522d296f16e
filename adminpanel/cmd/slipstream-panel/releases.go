package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/adminpanel/client"
	"slipstream/adminpanel/small"
	"slipstream/adminpanel/view"
	"slipstream/agent/words"
)

func (c *cli) releaseCommand() *cobra.Command {
	return group("release", "Add, list, order and withdraw releases", "Packages that the panel offers to devices.",
		c.releaseAdd(), c.releaseList(), c.releaseShow(), c.releaseWithdraw(), c.releaseOrder())
}

// release finds the release that a person means; a file is uploaded.
func (c *cli) release(ctx context.Context, panel *client.Client, text string) (view.Release, error) {
	if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() {
		r, _, err := c.upload(ctx, panel, text)
		return r, err
	}
	return find(ctx, panel, text)
}

// find finds a release by its id, the beginning of that, or its version.
func find(ctx context.Context, panel *client.Client, text string) (r view.Release, err error) {
	list, err := panel.Releases(ctx)
	if err != nil {
		return r, err
	}
	const leastPrefix = 4
	var met []view.Release
	for _, one := range list.Releases {
		switch {
		case one.ID == text:
			return one, nil
		case one.Withdrawn:
		case one.Version == text || one.Name == text || len(text) >= leastPrefix && strings.HasPrefix(one.ID, text):
			met = append(met, one)
		}
	}
	switch len(met) {
	case 0:
		return r, fmt.Errorf("%q is neither a file nor a release of the panel; see: slipstream-panel fleet release list", text)
	case 1:
		return met[0], nil
	}
	ids := make([]string, len(met))
	for i, one := range met {
		ids[i] = one.ID + " (" + one.Name + ")"
	}
	return r, fmt.Errorf("%q may be any of %s: name one by its id", text, strings.Join(ids, ", "))
}

func (c *cli) releaseAdd() *cobra.Command {
	var id, drop bool
	cmd := &cobra.Command{
		Use: "add FILE", Short: "Upload a package",
		Long: `Upload a package and have the panel judge it. An upload that was interrupted goes on where
it stopped, when the same file is added again within a day. A package that the panel has
already is not sent again. --id prints the release's id alone; --drop forgets what was
uploaded of it so far, and adds nothing.

Exit status: 0 the panel has it, 1 error, 3 the package was refused.`,
		Args: args(cobra.ExactArgs(1), "one FILE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			if drop {
				return c.dropUpload(ctx, panel, given[0])
			}
			r, added, err := c.upload(ctx, panel, given[0])
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(r)
			case id:
				_, err := fmt.Fprintln(c.out, r.ID)
				return err
			case !added:
				_, err := fmt.Fprintf(c.out, "%s is there already, as release %s\n", words.Clean(r.Name), r.ID)
				return err
			}
			fmt.Fprintf(c.out, "%s is release %s, %s\n", words.Clean(r.Name), r.ID, trustWords(r))
			c.next("slipstream-panel fleet rollout create --release %s SELECTOR", r.ID)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&id, "id", false, "print the id alone")
	cmd.Flags().BoolVar(&drop, "drop", false, "forget an upload of it that was interrupted")
	return cmd
}

func trustWords(r view.Release) string {
	if !r.Verified {
		return "judged by the devices alone"
	}
	return "signed by " + strings.Join(r.Signers, ", ")
}

// logWords says where everybody can see that a release was signed.
func logWords(r view.Release) string {
	if len(r.Logged) == 0 {
		return "none: no public log has its signatures"
	}
	lines := make([]string, len(r.Logged))
	for i, entry := range r.Logged {
		lines[i] = fmt.Sprintf("entry %d of %s", entry.Index, words.Fit(words.Clean(entry.Log), shownLog, "…"))
		if !entry.Time.IsZero() {
			lines[i] += ", " + moment(entry.Time)
		}
	}
	return strings.Join(lines, "; ")
}

const shownLog = 16 // digits of a log's id

// upload adds a file, unless the panel has it.
func (c *cli) upload(ctx context.Context, panel *client.Client, file string) (r view.Release, added bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return r, false, fmt.Errorf("read the package: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", file)
	}
	if err != nil {
		return r, false, err
	}
	id, err := client.ReleaseID(f, info.Size())
	if err != nil {
		return r, false, err
	}
	r, err = panel.Release(ctx, id)
	if err == nil && !r.Withdrawn {
		return r, false, nil
	}
	if p, ok := errors.AsType[*client.Problem](err); err != nil && (!ok || p.Status != 404) {
		return r, false, err
	}
	p := c.progress()
	defer p.end()
	note := noteOf(panel.URL(), id)
	r, err = panel.AddRelease(ctx, client.Package{Name: filepath.Base(file), Size: info.Size(), Reader: f}, client.Transfer{
		Upload: note.read(), Begun: note.write,
		Progress: func(done, total int64) { p.show("uploading "+filepath.Base(file), percent(done, total)) },
	})
	if err == nil {
		note.remove()
	}
	return r, err == nil, err
}

// dropUpload gives back the place that an interrupted upload of a file has at the panel.
func (c *cli) dropUpload(ctx context.Context, panel *client.Client, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read the package: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	id, err := client.ReleaseID(f, info.Size())
	if err != nil {
		return err
	}
	note := noteOf(panel.URL(), id)
	upload := note.read()
	if upload == "" {
		return c.finish(result{Exit: 2, Code: "no-upload", Message: "no upload of " + file + " was interrupted here"})
	}
	err = panel.DropUpload(ctx, upload)
	if p, ok := errors.AsType[*client.Problem](err); err != nil && (!ok || p.Status != 404) {
		return err
	}
	note.remove()
	return c.done("what was uploaded of %s is forgotten", file)
}

// note is a file in the user's cache that remembers an upload's id until it is over. That
// it cannot be kept is no reason to upload nothing.
type note string

func noteOf(url, release string) note {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(url + "\n" + release))
	return note(filepath.Join(dir, "slipstream", "uploads", hex.EncodeToString(sum[:16])))
}

func (n note) read() string {
	text, err := small.File(string(n), maxLogin)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (n note) write(upload string) {
	if n != "" && os.MkdirAll(filepath.Dir(string(n)), 0o700) == nil {
		_ = writeWhole(string(n), []byte(upload+"\n"))
	}
}

func (n note) remove() {
	if n != "" {
		_ = os.Remove(string(n))
	}
}

func (c *cli) releaseList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List releases, the newest first", Args: args(cobra.NoArgs, "no arguments"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, _ []string) error {
			list, err := panel.Releases(ctx)
			if err != nil {
				return err
			}
			rows := make([][]string, len(list.Releases))
			for i, r := range list.Releases {
				state := "offered"
				if r.Withdrawn {
					state = "withdrawn"
				}
				rows[i] = []string{r.ID, r.Name, strings.Join(r.Classes, ","), words.Size(r.Size), state, some(r.Running), moment(r.UploadedAt)}
			}
			return c.list(list, "release", []string{"ID", "NAME", "CLASSES", "SIZE", "STATE", "RUN", "ADDED"}, rows)
		}),
	}
}

func (c *cli) releaseShow() *cobra.Command {
	return &cobra.Command{
		Use: "show RELEASE", Short: "Show one release", Args: args(cobra.ExactArgs(1), "one RELEASE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			r, err := find(ctx, panel, given[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(r)
			}
			rows := [][]string{{"id", r.ID}, {"for", r.Product + " " + strings.Join(r.Hardware, ", ")},
				{"counter", fmt.Sprintf("%d, epoch %d", r.Counter, r.Epoch)}, {"size", words.Size(r.Size)},
				{"digest", r.Digest}, {"trust", trustWords(r)}, {"log", logWords(r)}, {"added", moment(r.UploadedAt) + " by " + r.UploadedBy},
				{"runs on", words.Count(r.Running, "device")}}
			for _, content := range r.Contents {
				rows = append(rows, []string{"" + content.Class, content.Kind + ", " + words.Size(content.Size)})
			}
			if r.Order != nil {
				rows = append(rows, []string{"order", cmp.Or(r.Order.Devices, "all") + until(r.Order.Until)})
			}
			if r.Withdrawn {
				rows = append(rows, []string{"withdrawn", "by " + r.WithdrawnBy})
			}
			return c.facts(r.Name, rows)
		}),
	}
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + day(t)
}

func (c *cli) releaseWithdraw() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "withdraw RELEASE", Short: "Offer a release no more",
		Long: `Offer a release no more: no device gets it from this panel. Devices that run it go on; the
same file added again is offered again.`,
		Args: args(cobra.ExactArgs(1), "one RELEASE"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			r, err := find(ctx, panel, given[0])
			if err != nil {
				return err
			}
			if r.Withdrawn {
				return c.finish(result{Exit: 2, Code: "withdrawn", Message: r.Name + " is withdrawn already"})
			}
			if err := c.sure(yes, "Withdraw %s, which %s run?", r.Name, words.Count(r.Running, "device")); err != nil {
				return err
			}
			if err := panel.Withdraw(ctx, r.ID); err != nil {
				return err
			}
			return c.done("%s is withdrawn", r.Name)
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (c *cli) releaseOrder() *cobra.Command {
	var file, alone string
	life := life(30 * 24 * time.Hour)
	cmd := &cobra.Command{
		Use: "order RELEASE [SELECTOR]", Short: "Sign the fleet's word that devices may run a release",
		Long: `Sign the fleet's word that the devices that a selector meets, or all, may run a release;
devices that belong to a fleet install nothing without. It adds to the word that is there and
lasts. With --stick the package is written
into a file with that word in it, for devices that are updated by hand; with --alone only the
word, for a device that has the package already.`,
		Args: args(cobra.RangeArgs(1, 2), "a RELEASE and at most one SELECTOR"),
		RunE: c.asks(func(ctx context.Context, panel *client.Client, given []string) error {
			r, err := find(ctx, panel, given[0])
			if err != nil {
				return err
			}
			if r, err = panel.Order(ctx, r.ID, view.OrderRequest{Selector: first(given[1:]), Until: life.from(time.Now())}); err != nil {
				return err
			}
			if file != "" {
				if err := writeNew(file, func(f *os.File) error { return panel.OrderPackage(ctx, r.ID, f) }); err != nil {
					return fmt.Errorf("write the package with its order: %w", err)
				}
			}
			if alone != "" {
				text, err := panel.OrderFile(ctx, r.ID)
				if err != nil {
					return err
				}
				if err := writeWhole(alone, text); err != nil {
					return fmt.Errorf("write the order: %w", err)
				}
			}
			if c.json {
				return c.printJSON(r)
			}
			may := *r.Order // what was ordered before and lasts is in it
			if may.Devices == "all" {
				may.Devices = "all devices"
			}
			return c.done("%s may run on %s%s", r.Name, may.Devices, until(may.Until))
		}),
	}
	cmd.Flags().StringVar(&file, "stick", "", "write the package with the word in it into this `FILE`")
	cmd.Flags().StringVar(&alone, "alone", "", "write that word alone into this `FILE`")
	cmd.Flags().Var(&life, "for", "how long it holds, such as 30d")
	return cmd
}
