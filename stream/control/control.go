// Package control is an app's end of the conversation with the agent about who does
// what while two versions run.
//
// The socket named by SLIPSTREAM_CONTROL is a SOCK_SEQPACKET unix socket. Each message
// is one word of printable ASCII with at most one argument, of at most [MaxWord] bytes,
// without a final newline. The first one is "version 1"; unknown words mean nothing, so
// that later versions can add some.
//
//	agent → app
//	  version 1               first of all
//	  role permanent          viewers see this version
//	  role trial              this version is being tried
//	  role standby            viewers see the other version; this one may be needed again
//	  keyframe STREAM         a key frame is wanted as soon as possible
//	  capture hold            take nothing more from the sensor or encoder
//	  capture go              take from it: nobody else does
//	  listen hold             accept nobody more on the listening sockets
//	  listen go               accept: nobody else does
//	app → agent
//	  capture hold            it takes nothing more
//	  listen hold             it accepts nobody more
//
// # The batons
//
// A sensor that only one process can take pictures from is shared by its descriptor,
// which the app stores under a name of its own (FDSTORE=1, FDNAME=capture) and the next
// version is given by LISTEN_FDS: both hold the same one, and the agent says whose turn
// it is. The one that takes is told to hold, and answers by the same word once nothing
// of the device is in its hands. Only then the other one is told to go: at the answer, at the
// death of the one that should have answered, or after [HoldTime]. A version on trial
// is told to go when it has said READY=1, so it says that before it has pictures. When
// the one that takes dies, the other one is told to go at once, and goes on without
// having been started again.
//
// Every connection begins with how things stand. Until it has heard, an app that needs a
// baton waits. An app that loses the connection, because the agent is being replaced,
// goes on as it was told last, and connects again; it stores its descriptors again then.
//
// # Key frames
//
// An app that publishes by SLIPSTREAM_PUBLISH is asked for key frames there, too, and
// sooner. One that publishes by SLIPSTREAM_PUBLISH_RTSP, which has no way to ask, is asked
// here alone.
//
// An app that ignores all this works: it has its own device, or finds it taken.
package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

const (
	// MaxWord bounds a message.
	MaxWord = 128
	// Version is the first word's argument.
	Version = "1"
	// HoldTime is how long the agent waits for the answer to a hold.
	HoldTime = 200 * time.Millisecond
	// WishTime is the least time between two wishes for a key frame of one stream, but
	// for the one that comes with a baton.
	WishTime = 100 * time.Millisecond

	retry     = 100 * time.Millisecond
	answerFor = time.Second
)

// Words.
const (
	WordVersion  = "version"
	WordRole     = "role"
	WordKeyframe = "keyframe"
	WordCapture  = "capture"
	WordListen   = "listen"
)

// Arguments of the batons.
const (
	Hold = "hold"
	Go   = "go"
)

// Handler is what an app does at each word; nil members are for what it has not. They
// are called one after the other. A hold is answered when its function has returned.
type Handler struct {
	Connected func() // each time, before anything is heard
	Role      func(role string)
	Keyframe  func(stream string)
	Capture   func(goes bool)
	Listen    func(goes bool)
}

// Parse splits a message.
func Parse(message []byte) (word, arg string, err error) {
	if len(message) == 0 || len(message) > MaxWord {
		return "", "", fmt.Errorf("a word of %d bytes, allowed are 1 to %d", len(message), MaxWord)
	}
	for _, c := range message {
		if c < ' ' || c > '~' {
			return "", "", errors.New("a word that is not printable")
		}
	}
	word, arg, _ = strings.Cut(string(message), " ")
	return word, arg, nil
}

// Run listens until ctx ends, through any number of agents. Without a socket (the
// variable SLIPSTREAM_CONTROL is empty) it returns at once.
func Run(ctx context.Context, h Handler) error {
	path := os.Getenv("SLIPSTREAM_CONTROL")
	if path == "" {
		return nil
	}
	return Listen(ctx, path, h)
}

// Listen is Run with the socket's path.
func Listen(ctx context.Context, path string, h Handler) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"}); err == nil {
			h.converse(ctx, conn)
		}
		timer.Reset(retry)
	}
}

func (h Handler) converse(ctx context.Context, conn *net.UnixConn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	if h.Connected != nil {
		h.Connected()
	}
	buf := make([]byte, MaxWord+1)
	for {
		n, err := conn.Read(buf)
		if err != nil || n == 0 {
			return
		}
		word, arg, err := Parse(buf[:n])
		if err != nil {
			continue // of a later version
		}
		if h.hear(word, arg) {
			conn.SetWriteDeadline(time.Now().Add(answerFor))
			if _, err := conn.Write([]byte(word + " " + Hold)); err != nil {
				return
			}
		}
	}
}

// hear says whether the word wants an answer.
func (h Handler) hear(word, arg string) bool {
	baton := func(f func(bool)) bool {
		if f != nil && (arg == Go || arg == Hold) {
			f(arg == Go)
		}
		return arg == Hold
	}
	switch word {
	case WordRole:
		if h.Role != nil {
			h.Role(arg)
		}
	case WordKeyframe:
		if h.Keyframe != nil {
			h.Keyframe(arg)
		}
	case WordCapture:
		return baton(h.Capture)
	case WordListen:
		return baton(h.Listen)
	}
	return false
}
