package gateway

import (
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back once after a rush, not during it, and not after the end.
func TestTidiesAfterARush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		count := 0
		tidier := newTidier(func() { count++ })
		expect := func(want int) {
			t.Helper()
			synctest.Wait()
			if count != want {
				t.Errorf("tidied %d times, want %d", count, want)
			}
		}
		for range 10 {
			tidier.later()
			time.Sleep(tidyPause - time.Millisecond)
		}
		expect(0)
		time.Sleep(2 * tidyPause)
		expect(1)
		tidier.later()
		time.Sleep(time.Hour)
		expect(2)
		tidier.later()
		tidier.stop()
		time.Sleep(time.Hour)
		expect(2)
	})
}
