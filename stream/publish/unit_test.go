package publish_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"slipstream/stream/publish"
)

// dialed is a publisher, and the forwarder's end of its connection.
func dialed(t *testing.T) (*publish.Conn, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pub.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan *net.UnixConn, 1)
	go func() {
		defer close(accepted)
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		_, err = conn.Read(make([]byte, publish.MaxHello))
		if err == nil {
			_, err = conn.Write([]byte{publish.MsgAccepted})
		}
		if err == nil {
			accepted <- conn
		}
	}()
	c, err := publish.Dial(path, "main", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	far := <-accepted
	t.Cleanup(func() { far.Close() })
	return c, far
}

func numbered(n int) []byte {
	p := make([]byte, 12+n%publish.MaxPacket/2)
	p[0] = 0x80
	binary.BigEndian.PutUint32(p[4:], uint32(n))
	return p
}

// A picture that is larger than what the socket holds arrives whole, each packet a
// message, in order.
func TestWriteUnitWaitsForRoom(t *testing.T) {
	t.Parallel()
	c, far := dialed(t)
	const count = 9000 // of 500 bytes and more in the mean, and the kernel counts more
	var unit [][]byte
	for n := range count {
		unit = append(unit, numbered(n))
	}
	wrote := make(chan error, 1)
	go func() { wrote <- c.WriteUnit(unit) }()
	far.SetReadDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, publish.MaxPacket)
	for n := range count {
		size, err := far.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(binary.BigEndian.Uint32(buf[4:])); got != n || size != len(unit[n]) {
			t.Fatalf("message %d is packet %d with %d bytes", n, got, size)
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if err := c.WriteUnit(nil); err != nil {
		t.Errorf("an empty picture: %v", err)
	}
}

func TestWriteUnitRefusesWhatIsNoRTP(t *testing.T) {
	t.Parallel()
	c, far := dialed(t)
	for _, bad := range [][]byte{nil, make([]byte, 11), make([]byte, 12), append([]byte{0x80}, make([]byte, publish.MaxPacket)...)} {
		if err := c.WriteUnit([][]byte{numbered(0), bad}); err == nil {
			t.Errorf("a packet of %d bytes was taken", len(bad))
		}
	}
	if err := c.WriteUnit([][]byte{numbered(7)}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, publish.MaxPacket)
	if n, err := far.Read(buf); err != nil || buf[7] != 7 || n != len(numbered(7)) {
		t.Errorf("of a refused picture something was sent: %x, %v", buf[:n], err)
	}
}

// A refusal that comes while a picture is written is what the writer is told.
func TestWriteUnitToldWhyItEnded(t *testing.T) {
	t.Parallel()
	c, far := dialed(t)
	if _, err := far.Write([]byte("Etoo much")); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	var refused *publish.RefusedError
	if err := c.WriteUnit([][]byte{numbered(1)}); !errors.As(err, &refused) || refused.Reason != "too much" {
		t.Errorf("after a refusal: %v", err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is still open: %v", err)
	}
}
