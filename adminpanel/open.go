package adminpanel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"slipstream/adminpanel/ca"
	"slipstream/adminpanel/config"
	"slipstream/adminpanel/small"
	"slipstream/adminpanel/store"
	"slipstream/adminpanel/store/bolt"
	"slipstream/adminpanel/store/etcd"
)

const (
	// storeFile is the panel's own store, below its data.
	storeFile = "store.db"
	// oldFile is what panels before the first release had in its place.
	oldFile = "panel.db"
	// maxSecret bounds files of passwords in bytes.
	maxSecret = 4096
	// maxAuthorities bounds files of certificates.
	maxAuthorities = 1 << 20
)

// ErrOldData is returned for the data of a panel from before the first release.
var ErrOldData = errors.New("the directory holds the data of a panel from before the first release, which this one cannot read: " +
	"name an empty directory, enrol the devices there by new tokens, and upload the releases again")

// OpenStore opens the store that a configuration names. One in a file can be open in one
// process only, so it fails while a panel runs on it.
func OpenStore(ctx context.Context, cfg config.Config) (store.Store, error) {
	if cfg.Store.Kind == config.StoreEtcd {
		return openEtcd(ctx, cfg.Store)
	}
	if _, err := os.Lstat(filepath.Join(cfg.Data, oldFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("%s: %w", cfg.Data, ErrOldData), err)
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the panel's data: %w", err)
	}
	return bolt.Open(filepath.Join(cfg.Data, storeFile))
}

func openEtcd(ctx context.Context, cfg config.Store) (store.Store, error) {
	password, err := secret(cfg.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("the password for etcd: %w", err)
	}
	line, err := etcdTLS(cfg)
	if err != nil {
		return nil, fmt.Errorf("TLS to etcd: %w", err)
	}
	return etcd.Open(ctx, etcd.Config{Endpoints: cfg.Endpoints, Prefix: cfg.Prefix, TLS: line, Username: cfg.Username, Password: password})
}

func etcdTLS(cfg config.Store) (*tls.Config, error) {
	if cfg.CA == "" && cfg.Cert == "" {
		return nil, nil // http, or the authorities that the system trusts
	}
	line := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA != "" {
		var err error
		if line.RootCAs, err = authorities(cfg.CA); err != nil {
			return nil, err
		}
	}
	if cfg.Cert != "" {
		own, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
		if err != nil {
			return nil, err
		}
		line.Certificates = []tls.Certificate{own}
	}
	return line, nil
}

// authorities reads a file of those who are believed.
func authorities(path string) (*x509.CertPool, error) {
	text, err := small.File(path, maxAuthorities)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate as PEM", path)
	}
	return pool, nil
}

// secret reads one that is in a file of its own; no file is none.
func secret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := small.File(path, maxSecret)
	return strings.TrimSpace(string(text)), err
}

// OpenAuthority opens the panel's certificate authority: in files below the data of a panel
// that is alone, where commands can rotate it while the panel runs, and in the store of panels
// that share one, which all sign with the same keys.
func OpenAuthority(cfg config.Config, s store.Store) (*ca.Authority, error) {
	dir := authorityDir(cfg)
	if cfg.Store.Kind == config.StoreEtcd {
		return ca.OpenStore(s, dir)
	}
	return ca.Open(dir)
}
