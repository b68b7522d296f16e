package camera

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"slipstream/stream/publish"
)

// sensorName is what the descriptor of the sensor is stored as.
const sensorName = "capture"

const (
	sensorPoll  = 20 * time.Millisecond // the agent waits for the answer to a hold no longer than ten of these
	sensorStale = time.Second           // without a picture for so long the sensor has failed
)

// sensor is a video device that one process at a time takes pictures from: the one that
// has the baton. It gives a camera the right to show its scene, and nothing else.
type sensor struct {
	device *os.File
	log    *slog.Logger

	mu    sync.Mutex // guards what follows, and the device's queue
	goes  bool
	first bool // of those since it goes
	taken time.Duration
	wake  *sync.Cond
}

// openSensor takes over the descriptor that the version before has stored, or opens the
// device. Its pictures are taken once the agent says so.
func openSensor(path string, notify notifier, log *slog.Logger) (s *sensor, err error) {
	s = &sensor{log: log, device: inherited(sensorName)}
	s.wake = sync.NewCond(&s.mu)
	if s.device == nil {
		if s.device, err = startCapture(path); err != nil {
			return nil, err
		}
		log.Info("the sensor is open", "device", path)
	}
	return s, notify.sendWith("FDSTORE=1\nFDNAME="+sensorName, int(s.device.Fd()))
}

// inherited is a descriptor that the agent hands over at the start; nil for none.
func inherited(name string) *os.File {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	for i, is := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		if is == name {
			return os.NewFile(uintptr(listenFDs+i), name)
		}
	}
	return nil
}

// capture is the baton. It returns when nothing of the device is in this process's hands.
func (s *sensor) capture(goes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if goes == s.goes {
		return
	}
	s.goes, s.first, s.taken = goes, goes, 0
	if !goes {
		s.log.Info("the sensor is held")
		return
	}
	if err := requeue(int(s.device.Fd())); err != nil {
		s.log.Error("the sensor's buffers", "err", err)
	}
	s.wake.Signal()
}

// sees says whether pictures come from the sensor.
func (s *sensor) sees() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.goes && s.taken > 0 && publish.Monotonic()-s.taken < sensorStale
}

// run takes pictures until ctx ends.
func (s *sensor) run(ctx context.Context) {
	defer context.AfterFunc(ctx, s.wake.Broadcast)()
	for ctx.Err() == nil {
		s.mu.Lock()
		for !s.goes && ctx.Err() == nil {
			s.wake.Wait()
		}
		s.take()
		s.mu.Unlock()
		ready := []unix.PollFd{{Fd: int32(s.device.Fd()), Events: unix.POLLIN}}
		_, _ = unix.Poll(ready, int(sensorPoll.Milliseconds())) // what there is the device says
	}
}

// take is called with the lock held.
func (s *sensor) take() {
	if !s.goes {
		return
	}
	number, ok, err := takePicture(int(s.device.Fd()))
	if err != nil {
		s.log.Error("take a picture", "err", err)
	}
	if err != nil || !ok {
		return
	}
	s.taken = publish.Monotonic()
	if s.first {
		s.first = false
		s.log.Info("the sensor goes", "picture", number)
	}
}
