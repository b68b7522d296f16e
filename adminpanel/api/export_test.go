package api

import "time"

// SetBodyTime changes how long bodies may take.
func (a *API) SetBodyTime(d time.Duration) { a.bodyTime = d }

// SetRenewEvery changes how soon readers of events are looked at anew.
func (a *API) SetRenewEvery(d time.Duration) { a.renewEvery = d }

// SetRecent changes what is told to every reader of events.
func (a *API) SetRecent(d time.Duration) { a.feed.recent = d }

// BackUpElsewhere has somebody be at a backup until they are done.
func (a *API) BackUpElsewhere() (done func()) {
	a.backups <- struct{}{}
	return func() { <-a.backups }
}
