package core_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"slipstream/stream/orders"
	"slipstream/stream/publish"
)

const (
	filmTime = 40 * time.Millisecond
	filmTick = 3600
	noteTime = 20 * time.Millisecond
	noteTick = 160
)

// films are what two versions show: the same scene, by two encoders whose parameter
// sets differ. Each access unit is its NAL units.
var films = map[byte]func() ([][][]byte, error){
	'a': sync.OnceValues(func() ([][][]byte, error) { return makeFilm("testsrc2", "baseline") }),
	'b': sync.OnceValues(func() ([][][]byte, error) { return makeFilm("testsrc", "main") }),
}

func makeFilm(scene, profile string) ([][][]byte, error) {
	out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", scene+"=size=320x180:rate=25", "-t", "3",
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", profile, "-pix_fmt", "yuv420p",
		"-bf", "0", "-g", "10", "-x264-params", "aud=1", "-f", "h264", "-").Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	var stream h264.AnnexB
	if err := stream.Unmarshal(out); err != nil {
		return nil, err
	}
	var film [][][]byte
	for _, nal := range stream {
		if h264.NALUType(nal[0]&0x1f) == h264.NALUTypeAccessUnitDelimiter {
			film = append(film, nil)
			continue
		}
		film[len(film)-1] = append(film[len(film)-1], nal)
	}
	return film, nil
}

// filmed declares a source with a picture and its sound.
func filmed(id string) orders.Source {
	s := src(id, 500)
	s.Streams[0].Audio = "sound"
	s.Streams = append(s.Streams, orders.Stream{Name: "sound", Codec: orders.PCMU})
	return s
}

const soundSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n"

// film publishes picture and sound of a version until it is stopped.
func (w *world) film(id string, letter byte) (stop func()) {
	w.t.Helper()
	film, err := films[letter]()
	if err != nil {
		w.t.Fatal(err)
	}
	socket := filepath.Join(w.run, "pub", id+".sock")
	picture, err := publish.Dial(socket, "main", sdpOf(film[0][0], film[0][1]))
	if err != nil {
		w.t.Fatal(err)
	}
	sound, err := publish.Dial(socket, "sound", []byte(soundSDP))
	if err != nil {
		w.t.Fatal(err)
	}
	quit := make(chan struct{})
	var playing sync.WaitGroup
	playing.Go(func() { showFilm(w.t, picture, film, quit) })
	playing.Go(func() { playNotes(sound, quit) })
	stop = sync.OnceFunc(func() {
		close(quit)
		playing.Wait()
		picture.Close()
		sound.Close()
	})
	w.t.Cleanup(stop)
	return stop
}

// every calls do for each step of CLOCK_MONOTONIC, so that all films and notes are
// of one time, until quit or an error.
func every(step time.Duration, quit chan struct{}, do func(n uint32) error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for next := uint32(publish.Monotonic()/step) + 1; ; {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for ; time.Duration(next)*step <= publish.Monotonic(); next++ {
			if do(next) != nil {
				return
			}
		}
	}
}

func showFilm(t *testing.T, conn *publish.Conn, film [][][]byte, quit chan struct{}) {
	enc, err := (&format.H264{PayloadTyp: 96, PacketizationMode: 1}).CreateEncoder()
	if err != nil {
		t.Error(err)
		return
	}
	at := 0
	every(filmTime, quit, func(n uint32) error {
		packets, err := enc.Encode(film[at%len(film)])
		if err != nil {
			return err
		}
		if at++; at%25 == 1 {
			if err := conn.WriteClock(n*filmTick, time.Duration(n)*filmTime, uint64(n)); err != nil {
				return err
			}
		}
		for _, p := range packets {
			p.Timestamp = n * filmTick
			b, err := p.Marshal()
			if err == nil {
				err = conn.WriteRTP(b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func playNotes(conn *publish.Conn, quit chan struct{}) {
	note := append([]byte{0x80, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9}, bytes.Repeat([]byte{0xff}, noteTick)...)
	told := uint32(0)
	every(noteTime, quit, func(n uint32) error {
		note[2], note[3] = byte(n>>8), byte(n)
		ts := n * noteTick
		note[4], note[5], note[6], note[7] = byte(ts>>24), byte(ts>>16), byte(ts>>8), byte(ts)
		if told == 0 || n-told >= 50 {
			told = n
			if err := conn.WriteClock(ts, time.Duration(n)*noteTime, uint64(n)); err != nil {
				return err
			}
		}
		return conn.WriteRTP(note)
	})
}

// filming is a device whose permanent version shows a film, with another one to be
// tried and reverted.
func filming(t *testing.T) (w *world, swap func()) {
	t.Helper()
	w = newWorld(t)
	w.order(orders.Orders{Sources: []orders.Source{filmed("a-1")}, Permanent: "a-1"})
	w.film("a-1", 'a')
	w.untilShown()
	trials := 0
	return w, func() {
		trials++
		trial, b := fmt.Sprint("t", trials), orders.SourceID(fmt.Sprint("b-", trials))
		w.order(orders.Orders{Sources: []orders.Source{filmed("a-1"), filmed(string(b))}, Permanent: "a-1", Trial: trialOf(trial, string(b), time.Minute)})
		stop := w.film(string(b), 'b')
		w.awaitSwitch()
		// Some of the new version is to be seen before it dies.
		from := w.frames(b)
		await(t, "frames of "+string(b), func() bool { return w.frames(b) > from+60 })
		stop()
		w.awaitRevert()
	}
}

// untilShown waits until viewers would see and hear something.
func (w *world) untilShown() {
	w.t.Helper()
	await(w.t, "picture and sound", func() bool {
		shown := 0
		for _, s := range w.status().Streams {
			if s.Followed != "" {
				shown++
			}
		}
		return shown == 2
	})
}
