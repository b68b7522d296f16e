package verify

import (
	"regexp"
	"slices"
)

// Codecs of a stream.
const (
	CodecH264  = "h264"
	CodecH265  = "h265"
	CodecMJPEG = "mjpeg"
	CodecOpus  = "opus"
	CodecPCMU  = "pcmu"
	CodecPCMA  = "pcma"
	CodecAAC   = "aac"
)

var (
	pictures = []string{CodecH264, CodecH265, CodecMJPEG}
	sounds   = []string{CodecOpus, CodecPCMU, CodecPCMA, CodecAAC}

	streamRE  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	profileRE = regexp.MustCompile(`^[0-9a-fA-F]{6}$`)
)

// Sound says that the stream carries sound and not pictures.
func (s Stream) Sound() bool { return slices.Contains(sounds, s.Codec) }

func isStreamName(s string) bool { return len(s) <= MaxStream && streamRE.MatchString(s) }

func checkStreams(streams []Stream) error {
	if len(streams) == 0 || len(streams) > MaxStreams {
		return bad("app.streams lists %d streams, allowed are 1 to %d", len(streams), MaxStreams)
	}
	for i, s := range streams {
		if !isStreamName(s.Name) {
			return bad("stream %s is not a name of at most %d lower-case letters and digits", quote(s.Name), MaxStream)
		}
		if slices.ContainsFunc(streams[:i], func(other Stream) bool { return other.Name == s.Name }) {
			return bad("two streams are named %s", quote(s.Name))
		}
		if err := s.check(); err != nil {
			return err
		}
		if err := s.checkInvariants(); err != nil {
			return err
		}
	}
	for _, s := range streams {
		if err := s.checkAudio(streams); err != nil {
			return err
		}
	}
	return nil
}

func checkBreaks(names []string) error {
	if len(names) > MaxStreams {
		return bad("app.breaks lists %d streams, allowed are up to %d", len(names), MaxStreams)
	}
	for i, name := range names {
		if !isStreamName(name) || slices.Contains(names[:i], name) {
			return bad("app.breaks lists %s, which is no stream's name or stands there twice", quote(name))
		}
	}
	return nil
}

// check judges a stream by itself; its name is good.
func (s Stream) check() error {
	switch {
	case !s.Sound() && !slices.Contains(pictures, s.Codec):
		return refuse(CodeCodec, "stream %s has the codec %s, which is not supported here", quote(s.Name), quote(s.Codec))
	case s.Sound() && (s.Width != 0 || s.Height != 0):
		return bad("stream %s is sound (%s) and has a picture size", quote(s.Name), s.Codec)
	case !s.Sound() && !(within(int64(s.Width), MinPicture, MaxPicture) && within(int64(s.Height), MinPicture, MaxPicture)):
		return bad("stream %s has the picture size %d x %d", quote(s.Name), s.Width, s.Height)
	case s.Profile != "" && s.Codec != CodecH264:
		return bad("stream %s has a profile, which only h264 has", quote(s.Name))
	case s.Profile != "" && !profileRE.MatchString(s.Profile):
		return bad("stream %s has the profile %s, not six hex digits", quote(s.Name), quote(s.Profile))
	case s.StallMS != 0 && !within(s.StallMS, minStallMS, maxStallMS):
		return bad("stream %s has a stallMs of %d, allowed are 0 and %d to %d", quote(s.Name), s.StallMS, minStallMS, maxStallMS)
	case s.Events && s.StallMS != 0:
		return bad("stream %s has frames on events only and a stallMs of %d: leave one of the two out", quote(s.Name), s.StallMS)
	}
	return nil
}

func (s Stream) checkAudio(streams []Stream) error {
	if s.Audio == "" {
		return nil
	}
	if s.Sound() {
		return bad("stream %s is sound (%s) and names an audio stream", quote(s.Name), s.Codec)
	}
	if !slices.ContainsFunc(streams, func(other Stream) bool { return other.Name == s.Audio && other.Sound() }) {
		return bad("stream %s has the audio %s, which is no stream of sound of this version", quote(s.Name), quote(s.Audio))
	}
	return nil
}
