package invariant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"slipstream/verify"
)

// probe takes one sample. It is used by one goroutine.
type probe interface {
	take(ctx context.Context) reading
}

func newProbe(c verify.Check, s Subject) probe {
	switch c.Kind {
	case verify.CheckProcess:
		return newProcessProbe(c, s)
	case verify.CheckExec:
		return askProbe{func(ctx context.Context) error {
			if s.Exec == nil {
				return errors.New("programs of the slot cannot be run here")
			}
			return s.Exec(ctx, c.Exec)
		}}
	case verify.CheckHTTP:
		return askProbe{func(ctx context.Context) error { return get(ctx, c.URL) }}
	case verify.CheckFile:
		return askProbe{func(context.Context) error { return young(s.Data, c.Path, time.Duration(c.MaxAgeMS)*time.Millisecond) }}
	case verify.CheckLink:
		return askProbe{func(ctx context.Context) error {
			if s.Link == nil {
				return errors.New("this device has no panel")
			}
			return s.Link(ctx)
		}}
	}
	return askProbe{func(context.Context) error { return fmt.Errorf("checks of kind %q are unknown to this device", c.Kind) }}
}

// askProbe asks a question that is answered by an error or none.
type askProbe struct {
	ask func(ctx context.Context) error
}

func (p askProbe) take(ctx context.Context) reading {
	err := p.ask(ctx)
	switch {
	case err == nil:
		return reading{value: 1}
	case ctx.Err() != nil:
		return reading{fault: "no answer in time"}
	}
	return reading{fault: err.Error()}
}

// client follows no redirect and asks no proxy: the address is all there is to ask.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

const maxAnswer = 64 << 10 // bytes read of an answer, which nobody looks at

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s answers %s", url, strconv.Itoa(resp.StatusCode))
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return err
}

// young says whether a regular file is there that was written not too long ago. No
// link leads out of the directory.
func young(dir, path string, age time.Duration) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s is not there", path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	}
	if old := time.Since(info.ModTime()); age > 0 && old > age {
		return fmt.Errorf("%s was written %v ago, allowed are %v", path, old.Round(time.Millisecond), age)
	}
	return nil
}
