package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store/backup"
)

func (a *API) registerBackup() {
	raw(a, "GET /backup", "All that the panel remembers at this moment, to be restored into an empty store", a.getBackup,
		gives(http.StatusOK, "the backup, whose last line has its SHA-256"), func(op *huma.Operation) {
			op.Description = "It holds what passwords and tokens are checked with, and the keys of the authority and of orders: " +
				"who has it can be the panel. The audit tells of each."
		}, query("packages", "\"true\": the packages of releases, too"))
}

func packagesWanted(query url.Values) (bool, error) {
	for name, values := range query {
		switch {
		case name != "packages":
			return false, badInput("query."+name, "unknown query parameter")
		case len(values) != 1 || values[0] != "true" && values[0] != "false":
			return false, badInput("query.packages", "it is true or false")
		}
	}
	return query.Get("packages") == "true", nil
}

// getBackup sends the store as it is at one moment while the panel works on. Reading it is
// a change of its own kind: the audit has it before the reader has a byte.
func (a *API) getBackup(w http.ResponseWriter, r *http.Request) error {
	packages, err := packagesWanted(r.URL.Query())
	if err != nil {
		return err
	}
	select {
	case a.backups <- struct{}{}:
	default:
		return newProblem(http.StatusConflict, "backup-busy", "somebody is at a backup just now: try again when that is done").again(10 * time.Second)
	}
	defer func() { <-a.backups }()
	f, info, err := backup.Spool(r.Context(), a.cfg.Store, a.cfg.Beside(packages), a.cfg.Data)
	if errors.Is(err, syscall.ENOSPC) {
		return newProblem(http.StatusInsufficientStorage, "disk-full", "the panel's disk has no room for a copy of all that: make some in its data, or leave packages out")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	line := whoOf(r.Context()).Line("panel.backup", "panel")
	line.Detail = fmt.Sprintf("%d records and %d files, sha256 %s", info.Lines, info.Files, info.SHA256)
	line.After = audit.Value(map[string]any{"records": info.Lines, "files": info.Files, "packages": packages, "sha256": info.SHA256})
	if err := a.cfg.Audit.Append(r.Context(), line); err != nil {
		return err
	}
	attach(w, "application/x-ndjson", "panel-"+info.At.Format("20060102T150405Z")+".backup", size)
	if _, err := io.Copy(w, f); err != nil {
		a.log.Warn("a backup was not read to its end", "cause", err)
		panic(http.ErrAbortHandler) // else it would look whole
	}
	return nil
}
