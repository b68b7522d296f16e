package gateway

import "time"

// tidyPause is how long nobody has joined when memory is given back.
const tidyPause = 2 * time.Second

// tidier gives memory back to the device once a rush of viewers is over: a handshake
// takes fifty times what is kept of the viewer after it, and without more handshakes
// the runtime would look for it after minutes.
type tidier struct{ timer *time.Timer }

func newTidier(tidy func()) tidier { return tidier{time.AfterFunc(tidyPause, tidy)} }

// later puts it off until the pause has passed once more.
func (t tidier) later() { t.timer.Reset(tidyPause) }

func (t tidier) stop() { t.timer.Stop() }
