package adminpanel

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/release"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/backup"
)

func authorityDir(cfg config.Config) string { return filepath.Join(cfg.Data, "ca") }

// Beside are the files that a backup has beside the store: the authority, unless that is in the
// store, the keys of orders, and the packages where those are wanted.
func Beside(cfg config.Config, s store.Store, packages bool) backup.Files {
	return func(ctx context.Context) ([]backup.File, error) {
		var list []backup.File
		if cfg.Store.Kind != config.StoreEtcd {
			names, err := ca.Files(authorityDir(cfg))
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				list = append(list, backup.File{Name: "ca/" + name, Path: filepath.Join(authorityDir(cfg), name)})
			}
		}
		for i, path := range cfg.Orders {
			list = append(list, backup.File{Name: fmt.Sprintf("orders/%d.key", i+1), Path: path})
		}
		if !packages {
			return list, nil
		}
		files, err := release.Files(ctx, s, cfg.ReleasesDir())
		for _, path := range files {
			list = append(list, backup.File{Name: "releases/" + filepath.Base(path), Path: path})
		}
		return list, err
	}
}

// Restore fills a panel's empty store and its directories from a backup, of the same kind of
// store or of the other one.
func Restore(ctx context.Context, cfg config.Config, s store.Store, path string) (backup.Info, error) {
	info, err := backup.Restore(ctx, s, func(name string) string {
		if file, ok := strings.CutPrefix(name, "releases/"); ok {
			return filepath.Join(cfg.ReleasesDir(), file)
		}
		return filepath.Join(cfg.Data, name)
	}, path)
	if err == nil && cfg.Store.Kind != config.StoreEtcd {
		err = ca.TakeOut(s, authorityDir(cfg))
	}
	return info, err
}
