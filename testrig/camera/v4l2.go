package camera

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What of linux/videodev2.h a capture needs. Layouts hold for 32 and 64 bits, with the
// kernel's 64-bit time on both.
const (
	videoCapture = 1          // V4L2_BUF_TYPE_VIDEO_CAPTURE
	memoryMapped = 1          // V4L2_MEMORY_MMAP
	pixelYUYV    = 0x56595559 // V4L2_PIX_FMT_YUYV
	bufferQueued = 0x2        // V4L2_BUF_FLAG_QUEUED
	bufferDone   = 0x4        // V4L2_BUF_FLAG_DONE

	sensorWidth, sensorHeight, sensorRate = 320, 180, 15
	sensorBuffers                         = 4
)

type v4l2Format struct {
	kind uint32
	_    [unsafe.Sizeof(uintptr(0)) - 4]byte
	pix  [50]uint32 // width, height, pixel format …
}

type v4l2Parameters struct {
	kind uint32
	parm [50]uint32 // capability, mode, numerator and denominator of the time per frame …
}

type v4l2Request struct {
	count, kind, memory uint32
	_                   [2]uint32 // capabilities, flags
}

type v4l2Buffer struct {
	index, kind, bytes, flags uint32
	_                         [10]uint32 // field, timestamp, timecode
	sequence, memory          uint32
	_                         uintptr // where it is mapped
	_                         [3]uint32
}

// Directions of a request, as linux/ioctl.h has them.
const (
	toKernel   = 1
	bothWays   = 3
	orderVideo = 'V'
)

// order does VIDIOC_… number nr.
func order[T any](fd int, name string, direction, nr uintptr, arg *T) error {
	request := direction<<30 | unsafe.Sizeof(*arg)<<16 | orderVideo<<8 | nr
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(arg)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("%s: %w", name, errno)
		}
	}
}

// startCapture opens a video device and lets it fill its buffers. From then on its queue
// belongs to the open file, and to whoever is given that.
func startCapture(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	format := v4l2Format{kind: videoCapture}
	format.pix[0], format.pix[1], format.pix[2] = sensorWidth, sensorHeight, pixelYUYV
	rate := v4l2Parameters{kind: videoCapture}
	rate.parm[2], rate.parm[3] = 1, sensorRate
	buffers := v4l2Request{count: sensorBuffers, kind: videoCapture, memory: memoryMapped}
	stream := int32(videoCapture)
	for _, step := range []func() error{
		func() error { return order(fd, "VIDIOC_S_FMT", bothWays, 5, &format) },
		func() error { return order(fd, "VIDIOC_S_PARM", bothWays, 22, &rate) },
		func() error { return order(fd, "VIDIOC_REQBUFS", bothWays, 8, &buffers) },
		func() error { return requeue(fd) },
		func() error { return order(fd, "VIDIOC_STREAMON", toKernel, 18, &stream) },
	} {
		if err := step(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), unix.Close(fd))
		}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// requeue gives the device all buffers that it has not: those that another process had
// taken and not given back.
func requeue(fd int) error {
	for i := range uint32(sensorBuffers) {
		b := v4l2Buffer{index: i, kind: videoCapture, memory: memoryMapped}
		if err := order(fd, "VIDIOC_QUERYBUF", bothWays, 9, &b); err != nil {
			return err
		}
		if b.flags&(bufferQueued|bufferDone) != 0 {
			continue
		}
		if err := order(fd, "VIDIOC_QBUF", bothWays, 15, &b); err != nil {
			return err
		}
	}
	return nil
}

// takePicture takes a picture from the device and gives its buffer back; ok is false if
// there is none yet.
func takePicture(fd int) (number uint32, ok bool, err error) {
	b := v4l2Buffer{kind: videoCapture, memory: memoryMapped}
	err = order(fd, "VIDIOC_DQBUF", bothWays, 17, &b)
	if errors.Is(err, unix.EAGAIN) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return b.sequence, b.bytes > 0, order(fd, "VIDIOC_QBUF", bothWays, 15, &b)
}
