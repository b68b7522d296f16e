package core_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"slipstream/stream/handover"
)

func TestHandoverRefusals(t *testing.T) {
	w, _, g, p := steadyPeer(t)
	change := func(edit func(*handover.Viewer)) handover.Request {
		v := newSpec("two", handover.AES128)
		edit(&v)
		return handover.Request{Viewer: &v}
	}
	_, udp := connected(t)
	loose, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer loose.Close()
	for _, c := range []struct {
		name  string
		ask   handover.Request
		socks []*net.UDPConn
		want  string
	}{
		{"no socket", change(func(*handover.Viewer) {}), nil, "0 descriptors"},
		{"two sockets", change(func(*handover.Viewer) {}), []*net.UDPConn{udp, udp}, "2 descriptors"},
		{"a socket that is not connected", change(func(*handover.Viewer) {}), []*net.UDPConn{loose}, "not connected"},
		{"an unknown stream", change(func(v *handover.Viewer) { v.Tracks[0].Stream = "nosuch" }), []*net.UDPConn{udp}, "no source"},
		{"an unknown profile", change(func(v *handover.Viewer) { v.SRTP.Profile = "NULL" }), []*net.UDPConn{udp}, "not supported"},
		{"a short key", change(func(v *handover.Viewer) { v.SRTP.LocalKey = []byte{1} }), []*net.UDPConn{udp}, "bytes of key"},
		{"a short remote salt", change(func(v *handover.Viewer) { v.SRTP.RemoteSalt = nil }), []*net.UDPConn{udp}, "of salt"},
		{"no password", change(func(v *handover.Viewer) { v.ICE.LocalPwd = "" }), []*net.UDPConn{udp}, "password"},
		{"a payload type of eight bits", change(func(v *handover.Viewer) { v.Tracks[0].PayloadType = 128 }), []*net.UDPConn{udp}, "payload type"},
		{"a name that is none", change(func(v *handover.Viewer) { v.ID = "a/b" }), []*net.UDPConn{udp}, "viewer name"},
		{"a huge flight", change(func(v *handover.Viewer) { v.Flight = make([]byte, 3000) }), []*net.UDPConn{udp}, "flight"},
		{"a viewer twice", change(func(v *handover.Viewer) { v.ID = "one" }), []*net.UDPConn{udp}, "served already"},
		{"keys twice", change(func(v *handover.Viewer) { v.SRTP = p.spec.SRTP }), []*net.UDPConn{udp}, "used before"},
		{"a move of nobody", handover.Request{Moved: &handover.Moved{ID: "two"}}, []*net.UDPConn{udp}, "not known"},
		{"a move of nothing", handover.Request{Moved: &handover.Moved{ID: "one"}}, nil, "neither"},
		{"a move to short credentials", handover.Request{Moved: &handover.Moved{ID: "one", ICE: &handover.ICE{}}}, nil, "characters"},
		{"an end with a socket", handover.Request{End: &handover.End{ID: "one"}}, []*net.UDPConn{udp}, "1 descriptors"},
		{"nothing", handover.Request{}, nil, "asks for 0 things"},
		{"two things", handover.Request{Moved: &handover.Moved{ID: "one"}, End: &handover.End{ID: "one"}}, nil, "asks for 2 things"},
	} {
		if m := g.ask(c.ask, c.socks...); !strings.Contains(m.Error, c.want) || m.Taken != "" {
			t.Errorf("%s: %+v, want %q", c.name, m, c.want)
		}
	}
	p.until("more pictures", p.count()+10, any1)
	p.unbroken()

	raw := w.raw(t, handover.Socket)
	for _, greeting := range []string{"known", "listed"} {
		if got := expect(t, raw, '{', "what a new gateway is told"); !strings.Contains(got, greeting) {
			t.Errorf("greeting: %s", got)
		}
	}
	raw.Write(bytes.Repeat([]byte("{"), handover.MaxMessage+1))
	if got := expect(t, raw, '{', "a message over the limit"); !strings.Contains(got, "error") {
		t.Errorf("answer: %s", got)
	}
	raw.Write([]byte("no JSON"))
	if got := expect(t, raw, '{', "no JSON"); !strings.Contains(got, "error") {
		t.Errorf("answer: %s", got)
	}
}

// The keys of a viewer that has ended are not taken a second time either.
func TestKeysAreNeverUsedTwice(t *testing.T) {
	_, _, g, p := steadyPeer(t)
	if m := g.ask(handover.Request{End: &handover.End{ID: "one"}}); m.Ended == nil {
		t.Fatalf("end: %+v", m)
	}
	_, far := connected(t)
	spec := p.spec
	spec.ID = "two"
	if m := g.ask(handover.Request{Viewer: &spec}, far); !strings.Contains(m.Error, "used before") {
		t.Errorf("%+v", m)
	}
}

func TestHandoverIsForOneUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	w, _, _, p := steadyPeer(t)
	path := filepath.Join(w.run, handover.Socket)
	for _, f := range []string{w.run, path} {
		if err := os.Chmod(f, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with its user
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			failed <- errno
			return
		}
		conn, err := handover.Dial(path)
		if err == nil {
			_, err = conn.Receive()
		}
		failed <- err
	}()
	if err := <-failed; err == nil || strings.Contains(err.Error(), "operation not permitted") {
		t.Errorf("another user was heard: %v", err)
	}
	p.until("more pictures", p.count()+10, any1)
	p.unbroken()
}

// After a restart of ICE the viewer is known by its new credentials, to the next
// gateway too; by those before only until it uses the new ones.
func TestRestartedICE(t *testing.T) {
	w, _, g, p := steadyPeer(t)
	before := p.spec.ICE
	fresh := handover.ICE{LocalUfrag: "fresh", LocalPwd: "another password of some length", RemoteUfrag: "viewer"}
	if m := g.ask(handover.Request{Moved: &handover.Moved{ID: "one", ICE: &fresh}}); m.Taken != "one" {
		t.Fatalf("%+v", m)
	}
	p.answered(p.check(before.LocalPwd))
	p.spec.ICE = fresh
	p.answered(p.check(fresh.LocalPwd))
	p.spec.ICE = before
	p.check(before.LocalPwd)
	p.spec.ICE = fresh
	p.answered(p.check(fresh.LocalPwd))
	g = w.gateway()
	if len(g.known) != 1 || *g.known[0].ICE != fresh || g.known[0].Kind != handover.KindWHEP {
		t.Errorf("known: %+v", g.known)
	}
	if m := g.ask(handover.Request{End: &handover.End{ID: "one"}}); m.Ended == nil || m.Ended.Report.Refused != 1 {
		t.Errorf("credentials from before the restart: %+v", m)
	}
	p.unbroken()
}
