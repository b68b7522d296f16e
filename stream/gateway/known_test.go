package gateway_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun"
	"golang.org/x/sys/unix"

	"slipstream/stream/gateway"
	"slipstream/stream/handover"
)

// old is a viewer that an earlier gateway has given to the forwarder.
func old(id string, at net.Addr) handover.Known {
	return handover.Known{
		ID: id, Stream: "main", Kind: handover.KindWHEP, Address: at.String(),
		ICE: &handover.ICE{LocalUfrag: "oldUfrag" + id, LocalPwd: "passwordOfTheOldOne" + id + id, RemoteUfrag: "theirs"},
	}
}

// check sends a viewer's check to the gateway's port and waits for the answer.
func check(t *testing.T, w *world, from *net.UDPConn, ice handover.ICE, more ...stun.Setter) {
	t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(ice.LocalUfrag + ":" + ice.RemoteUfrag)},
		append(more, stun.NewShortTermIntegrity(ice.LocalPwd), stun.Fingerprint)...)...)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	for deadline := time.Now().Add(patience); ; {
		if _, err := from.WriteTo(m.Raw, w.gateway.UDPAddr()); err != nil {
			t.Fatal(err)
		}
		from.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := from.Read(buf)
		if err != nil && time.Now().Before(deadline) {
			continue
		}
		reply := stun.Message{Raw: buf[:n]}
		if err != nil || reply.Decode() != nil || reply.Type != stun.BindingSuccess || stun.NewShortTermIntegrity(ice.LocalPwd).Check(&reply) != nil {
			t.Fatalf("a check was not answered: %v %v", err, reply)
		}
		return
	}
}

// nominate says that the viewer wants its pictures where the check comes from.
var nominate setter = func(m *stun.Message) error {
	m.Add(stun.AttrUseCandidate, nil)
	return nil
}

type setter func(*stun.Message) error

// AddTo implements [stun.Setter].
func (s setter) AddTo(m *stun.Message) error { return s(m) }

// A gateway learns of the viewers that the forwarder has, and treats them as its own.
func TestViewersOfTheGatewayBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.MaxViewers = 2 })
	here := newSocket(t)
	known := []handover.Known{
		old("one", here.LocalAddr()), old("two", here.LocalAddr()),
		{ID: "leg", Stream: "main", Kind: handover.KindLeg, Address: "192.0.2.1:1"},
		{ID: "lie", Stream: "main", Kind: handover.KindWHEP, Address: "nowhere"},
	}
	f := newFake(t, w)
	f.change(func() { f.known = known })
	w.log.await(t, "a viewer is not followed")
	w.log.await(t, "the forwarder is there")
	base := "http://" + w.gateway.HTTPAddr().String() + "/whep/main/"

	res, body := post(t, w.whep, "application/sdp", newOffer(t, newPeer(t)))
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "places") {
		t.Errorf("a third viewer of two: %s %q", res.Status, body)
	}
	for _, c := range []struct {
		method, id string
		status     int
	}{{"GET", "one", 204}, {"GET", "leg", 404}, {"GET", "lie", 404}, {"DELETE", "none", 404}} {
		if res := request(t, c.method, base+c.id); res.StatusCode != c.status {
			t.Errorf("%s %s: %s", c.method, c.id, res.Status)
		}
	}

	// It moves: its check is answered, and the forwarder gets a socket for there.
	there := newSocket(t)
	check(t, w, there, *known[0].ICE, nominate)
	moved := f.moved()
	peer, err := unix.Getpeername(moved.socket)
	if moved.Moved.ID != "one" || err != nil || peer.(*unix.SockaddrInet4).Port != there.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("the forwarder was told %+v, with a socket to %v, %v", moved.Moved, peer, err)
	}

	// It restarts ICE with the entity tag that it has.
	res, body = patch(t, base+"two", fragmentType, `"`+known[1].ICE.LocalUfrag+`"`, "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:newOne\r\na=ice-pwd:aPasswordOfTwentyTwoAndMore\r\n")
	if res.StatusCode != http.StatusOK {
		t.Fatalf("restart: %s %s", res.Status, body)
	}
	ice := f.moved().Moved.ICE
	_, ufrag, pwd := ofSDP(body)
	if ice == nil || *ice != (handover.ICE{LocalUfrag: ufrag, LocalPwd: pwd, RemoteUfrag: "newOne"}) {
		t.Errorf("the forwarder was told %+v, the viewer\n%s", ice, body)
	}
	check(t, w, newSocket(t), *ice)

	if res := request(t, http.MethodDelete, base+"one"); res.StatusCode != http.StatusOK {
		t.Errorf("DELETE: %s", res.Status)
	}
	if end := f.hear("an end", func(r handover.Request) bool { return r.End != nil }); end.End.ID != "one" {
		t.Errorf("%+v ended", end.End)
	}
	w.log.await(t, "the viewer ended it")
	knock(t, w.whep) // there is a place for it
}

// What became of viewers while nobody was connected is in the next list.
func TestEndsThatNobodyHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFake(t, w)
	stays, goes := join(t, w.whep), join(t, w.whep)
	ids := map[string]handover.Viewer{}
	for range 2 {
		v := f.viewer().Viewer
		ids[v.ID] = *v
	}
	f.close()
	w.log.await(t, "the forwarder is away")
	id := stays.location[strings.LastIndex(stays.location, "/")+1:]
	kept := ids[id]
	f.change(func() {
		f.known = []handover.Known{{ID: id, Stream: "main", Kind: handover.KindWHEP, Address: "127.0.0.1:9", ICE: &kept.ICE}}
	})
	f.listen()
	w.log.await(t, `because="the forwarder no longer has it"`)
	if res := request(t, http.MethodGet, goes.location); res.StatusCode != http.StatusNotFound {
		t.Errorf("the one that ended: %s", res.Status)
	}
	if res := request(t, http.MethodDelete, stays.location); res.StatusCode != http.StatusOK {
		t.Errorf("the one that stayed: %s", res.Status)
	}
	f.hear("an end", func(r handover.Request) bool { return r.End != nil && r.End.ID == id })
}

// The health check is about the forwarder: without one there is nothing to watch.
func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url := "http://" + w.gateway.HTTPAddr().String() + "/healthz"
	if res := request(t, http.MethodGet, url); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a forwarder: %s", res.Status)
	}
	f := newFake(t, w)
	w.log.await(t, "the forwarder is there")
	await(t, "health", func() bool { return request(t, http.MethodGet, url).StatusCode == http.StatusOK })
	f.close()
	await(t, "illness", func() bool { return request(t, http.MethodGet, url).StatusCode == http.StatusServiceUnavailable })
}

// await asks again and again until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
