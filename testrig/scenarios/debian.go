package scenarios

import (
	"context"
	"fmt"
	"path/filepath"

	"slipstream/testrig/machine"
)

// debian switches on a machine that has Debian, and nothing of the product; or the same
// one again, with what it has got meanwhile.
func (w *world) debian(ctx context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	if w.machine == nil {
		if err := w.newDebian(ctx); err != nil {
			return "", err
		}
	}
	if _, err := w.power(ctx, nil); err != nil {
		return "", err
	}
	if err := w.machine.Hand.Wait(ctx); err != nil {
		return "", fmt.Errorf("%w\n%s", err, w.machine.Console.Tail())
	}
	return "", nil
}

func (w *world) newDebian(ctx context.Context) error {
	disk, root, err := w.factory.Debian(ctx)
	if err != nil {
		return err
	}
	if w.machine, err = machine.New(ctx, w.factory.Kit.Arch, disk, w.dir); err != nil {
		return err
	}
	return w.machine.AddDisk(ctx, root)
}

// deb builds the product's package and puts it into the machine.
func (w *world) deb(ctx context.Context, args []string) (string, error) {
	words, _, err := named(args, 1)
	if err != nil {
		return "", err
	}
	file, err := w.factory.Kit.Deb(ctx, words[0], filepath.Join(w.dir, "debs"))
	if err != nil {
		return "", err
	}
	return "", w.machine.Hand.Put(ctx, file, "/root/slipstream_"+words[0]+".deb")
}

// verified switches on a machine whose boot loader starts only what is signed.
func (w *world) verified(ctx context.Context, args []string) (string, error) {
	if _, _, err := named(args, 0); err != nil {
		return "", err
	}
	if w.machine != nil {
		return "", fmt.Errorf("there is a machine already: %w", errUsage)
	}
	signed, err := w.factory.Signed(ctx)
	if err != nil {
		return "", err
	}
	if w.machine, err = machine.New(ctx, w.factory.Kit.Arch, signed.Disk, w.dir); err != nil {
		return "", err
	}
	if err := w.machine.Verify(ctx, signed); err != nil {
		return "", err
	}
	return w.boot(ctx, nil)
}
