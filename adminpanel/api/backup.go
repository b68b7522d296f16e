package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"slipstream/adminpanel/audit"
	"slipstream/adminpanel/store/backup"
)

func (a *API) registerBackup() {
	raw(a, "GET /backup", "All that the panel remembers at this moment, to be restored into an empty store", a.getBackup,
		gives(http.StatusOK, "the backup, whose last line has its SHA-256"), func(op *huma.Operation) {
			op.Description = "It holds what passwords and tokens are checked with, and the authority's keys if these are in the store; " +
				"packages are files beside it. The audit tells of each."
		})
}

// getBackup sends the store as it is at one moment while the panel works on. Reading it is
// a change of its own kind: the audit has it before the reader has a byte.
func (a *API) getBackup(w http.ResponseWriter, r *http.Request) error {
	select {
	case a.backups <- struct{}{}:
	default:
		return newProblem(http.StatusConflict, "backup-busy", "somebody is at a backup just now: try again when that is done").again(10 * time.Second)
	}
	defer func() { <-a.backups }()
	f, info, err := backup.Spool(r.Context(), a.cfg.Store, a.cfg.Data)
	if errors.Is(err, syscall.ENOSPC) {
		return newProblem(http.StatusInsufficientStorage, "disk-full", "the panel's disk has no room for a copy of its store: make some in its data")
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
	line.Detail = fmt.Sprintf("%d records, sha256 %s", info.Lines, info.SHA256)
	line.After = audit.Value(map[string]any{"records": info.Lines, "sha256": info.SHA256})
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
