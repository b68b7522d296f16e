package hand_test

import (
	"bufio"
	"net"
	"strconv"
	"testing"
	"time"

	"slipstream/testrig/machine/hand"
)

// Who calls a port in the guest has whom the rig lets it reach, one after another, and again
// when the guest's server was away.
func TestReach(t *testing.T) {
	t.Parallel()
	outside, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer outside.Close()
	go func() {
		for {
			conn, err := outside.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				word, _ := bufio.NewReader(conn).ReadString('\n') // the caller sees what is missing
				_, _ = conn.Write([]byte("heard " + word))
			}()
		}
	}()
	// Both sides have one loopback here, so the guest's port must be another one.
	guest, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer guest.Close()
	inner := freePort(t)
	var lender hand.Lender
	turns := 0
	go func() {
		for {
			conn, err := guest.Accept()
			if err != nil {
				return
			}
			if turns++; turns <= 2 {
				conn.Close() // the server is not there yet
				continue
			}
			go func() { _ = lender.Lend(conn) }()
		}
	}()
	reach, err := hand.NewReach(inner, outside.Addr().String(), guest.Addr().String)
	must(t, err)
	for _, word := range []string{"one", "two", "three"} {
		if got := call(t, inner, word+"\n"); got != "heard "+word+"\n" {
			t.Errorf("said %q, got %q", word, got)
		}
	}
	reach.Close()
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// call says a word to a port, once somebody listens there, and returns the answer.
func call(t *testing.T, port int, word string) string {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			if time.Now().After(end) {
				t.Fatal(err)
			}
			<-time.After(10 * time.Millisecond)
			continue
		}
		defer conn.Close()
		must(t, conn.SetDeadline(end))
		_, err = conn.Write([]byte(word))
		must(t, err)
		got, err := bufio.NewReader(conn).ReadString('\n')
		must(t, err)
		return got
	}
}
