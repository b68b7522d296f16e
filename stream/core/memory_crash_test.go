package core_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pion/rtcp"

	"slipstream/stream/handover"
)

// forget lets the keeper lose the descriptors of some names.
func (s *store) forget(t *testing.T, lost func(name string) bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.files)
	for name, f := range s.files {
		if lost(name) {
			f.Close()
			delete(s.files, name)
		}
	}
	if len(s.files) == n {
		t.Fatal("nothing was lost")
	}
}

// A crash that takes the memory of a line along: nobody knows what was sent of it, so
// its viewers go on with the next line under indices that none had before. Nothing
// that they lost is sent under an old index, whatever they ask for.
func TestCrashThatLosesALinesMemory(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	ciphers := []string{handover.AES128, handover.AES256, handover.AES128CM}
	o, viewers := a.watched(ciphers...)
	a.now.kill()
	var lost []uint16
	for _, p := range viewers {
		lost = append(lost, p.newest())
	}
	a.kept.forget(t, func(name string) bool { return strings.HasPrefix(name, "memory.") })
	a.begin()
	a.order(o)
	a.camera("a-1", 'z', 7) // the one before has lost its connection
	for i, p := range viewers {
		at := p.untilLetter('z', 0)
		p.until("more pictures", at+20, any1)
		skip := p.skipped(t)
		if skip <= 0 || skip > 200 {
			t.Errorf("%s: %d packets were skipped", ciphers[i], skip)
		}
		p.say(&rtcp.TransportLayerNack{SenderSSRC: 99, MediaSSRC: p.spec.Tracks[0].SSRC, Nacks: []rtcp.NackPair{{PacketID: lost[i]}}})
		p.until("pictures after it asked for what is gone", p.count()+10, any1)
		p.skipped(t)
	}
	if s := a.status(); s.Streams[0].Viewers != len(viewers) {
		t.Errorf("status: %+v", s.Streams)
	}
}

// skipped is how many indices a viewer missed when its line was lost. A picture may
// have been cut off there; anything else that is amiss is an error.
func (p *peer) skipped(t *testing.T) (n int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	gaps := 0
	for _, b := range p.breaks {
		var got, want uint16
		if _, err := fmt.Sscanf(b, "sequence %d instead of %d", &got, &want); err == nil {
			gaps, n = gaps+1, int(int16(got-want))
		} else if !strings.HasPrefix(b, "half a picture") {
			t.Error(b)
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps: %q", gaps, p.breaks)
	}
	return n
}

// A viewer whose own descriptor was lost cannot be sent anything. It is not counted
// as served, and a gateway hears that it is not there.
func TestCrashThatLosesAViewer(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	_, viewers := a.watched(handover.AES128, handover.AES256)
	a.now.kill()
	a.kept.forget(t, func(name string) bool { return name == "viewer.0.0" })
	a.begin()
	goOn(t, viewers[1:])
	if known := a.gateway().known; len(known) != 1 || known[0].ID != "viewer-b" {
		t.Errorf("known: %+v", known)
	}
	if s := a.status(); s.Streams[0].Viewers != 1 || s.Restored != 1 {
		t.Errorf("status: %+v", s)
	}
	newcomer := a.gateway().peer(newSpec("newcomer", handover.AES128)) // in the place of the one who is gone
	newcomer.until("pictures", 10, any1)
	newcomer.unbroken()
}
