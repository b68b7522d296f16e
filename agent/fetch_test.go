package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipstream/slots/fetch"
)

// A server that gives a byte a second is given up in time.
func TestSlowServerIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		var server sync.WaitGroup
		server.Go(func() {
			defer theirs.Close()
			if _, err := theirs.Read(make([]byte, 4096)); err != nil {
				return
			}
			head := fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%d/%d\r\n\r\n", readAhead-1, readAhead)
			if _, err := io.WriteString(theirs, head); err != nil {
				return
			}
			for {
				time.Sleep(time.Second)
				if _, err := theirs.Write([]byte{'x'}); err != nil {
					return
				}
			}
		})
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
		client := patient(nil)
		client.Transport = transport
		file, err := fetch.Open(client, "http://camera.invalid/x.slip", "")
		if err != nil {
			t.Fatal(err)
		}
		r := &remote{ctx: t.Context(), file: file}
		start := time.Now()
		if err := r.fetch(0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != fetchTimeout {
			t.Errorf("given up after %v", took)
		}
		r.Close()
		server.Wait()
	})
}
