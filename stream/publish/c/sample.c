/*
 * sample.c: a camera in C. It plays an Annex B H.264 file round and round in
 * real time, as if it were captured now.
 *
 *	cc -std=c99 -pthread -o camera sample.c
 *	./camera v1.h264 30       # under the agent, which sets SLIPSTREAM_PUBLISH
 *	./camera v1.h264 30 mic   # with a tone as stream "mic", declared as "pcmu"
 *
 * The file has no B-frames, one slice a frame and its parameter sets before
 * every key frame, as live encoders send them.
 *
 * It counts its pictures, and hands the count over as its state (app.state "count" in
 * the manifest). CAMERA_SENSOR names a file that stands for a sensor which one process
 * at a time may take from: it is opened once, handed on from version to version, and
 * locked by the one whose turn it is. Whoever connects to the declared socket "count"
 * is told the count.
 */
#define _GNU_SOURCE
#include "slipstream.h"

#include <sys/file.h>

enum { MAX_FILE = 64 << 20, MAX_NALS = 1 << 20, RTP_RATE = 90000, SECOND = 1000000000 };

struct nal {
	const uint8_t *data;
	size_t size;
};

struct film {
	uint8_t *data;
	size_t size;
	struct nal *nals;
	size_t count;
	struct nal sps, pps;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "camera: %s: %s\n", what, why);
	exit(1);
}

static int type_of(struct nal n) { return n.data[0] & 0x1f; }

static int is_slice(struct nal n) { return type_of(n) == 1 || type_of(n) == 5; }

static void load(struct film *f, const char *name)
{
	FILE *file = fopen(name, "rb");
	if (file == NULL)
		die(name, strerror(errno));
	f->data = malloc(MAX_FILE);
	if (f->data == NULL)
		die(name, "no memory");
	f->size = fread(f->data, 1, MAX_FILE, file);
	if (ferror(file) || !feof(file))
		die(name, "cannot be read, or is too large");
	fclose(file);
}

/* next_start finds the start code 00 00 01 from at on; size if there is none. */
static size_t next_start(const struct film *f, size_t at)
{
	for (; at + 3 <= f->size; at++)
		if (f->data[at] == 0 && f->data[at + 1] == 0 && f->data[at + 2] == 1)
			return at;
	return f->size;
}

/* split finds the NAL units between the start codes. */
static void split(struct film *f)
{
	size_t at = next_start(f, 0), end;
	f->nals = calloc(MAX_NALS, sizeof *f->nals);
	if (f->nals == NULL)
		die("film", "no memory");
	while (at < f->size && f->count < MAX_NALS) {
		struct nal n = {f->data + at + 3, 0};
		end = at = next_start(f, at + 3);
		while (f->data + end > n.data && f->data[end - 1] == 0)
			end--; /* zeros belong to the next start code */
		n.size = (size_t)(f->data + end - n.data);
		if (n.size == 0)
			continue;
		if (type_of(n) == 7)
			f->sps = n;
		if (type_of(n) == 8)
			f->pps = n;
		f->nals[f->count++] = n;
	}
	if (f->sps.size < 4 || f->pps.size == 0)
		die("film", "no parameter sets in it");
	if (!is_slice(f->nals[f->count - 1]))
		die("film", "it does not end with a picture");
}

static void base64(char *to, struct nal n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < n.size; i += 3) {
		uint32_t v = (uint32_t)n.data[i] << 16;
		if (i + 1 < n.size)
			v |= (uint32_t)n.data[i + 1] << 8;
		if (i + 2 < n.size)
			v |= n.data[i + 2];
		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = i + 1 < n.size ? digits[v >> 6 & 63] : '=';
		*to++ = i + 2 < n.size ? digits[v & 63] : '=';
	}
	*to = 0;
}

static void describe(char *sdp, size_t room, const struct film *f)
{
	char sps[2048], pps[2048];
	if (f->sps.size > 1024 || f->pps.size > 1024)
		die("film", "its parameter sets are too large");
	base64(sps, f->sps);
	base64(pps, f->pps);
	snprintf(sdp, room,
		"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
		"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
		"a=fmtp:96 packetization-mode=1;profile-level-id=%02x%02x%02x;sprop-parameter-sets=%s,%s\r\n",
		f->sps.data[1], f->sps.data[2], f->sps.data[3], sps, pps);
}

static void sleep_until(int64_t at)
{
	struct timespec ts = {(time_t)(at / SECOND), (long)(at % SECOND)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

/* What the camera is besides its pictures. */
static struct {
	struct slipstream_control control;
	uint64_t began, count; /* pictures of all versions, up to its start and up to now */
	int sensor;            /* handed on from version to version; -1: it has none */
	int turn;              /* our own way to it, while it is locked by us; -1: it is not */
	int web;               /* the listening socket; -1: none is declared */
} self = {.control = {.fd = -1}, .sensor = -1, .turn = -1, .web = -1};

/* say tells people what the camera does. */
static void say(const char *first)
{
	char words[200];
	snprintf(words, sizeof words, "%sSTATUS=%s, %s, %llu pictures after %llu", first, self.control.role,
		self.turn >= 0 ? "takes" : "holds", (unsigned long long)self.count, (unsigned long long)self.began);
	slipstream_notify(words, -1); /* that nobody hears it must not stop the pictures */
}

/* begin takes up what the version before has left. */
static void begin(void)
{
	const char *name = getenv("CAMERA_SENSOR"), *schema = getenv("SLIPSTREAM_STATE_SCHEMA");
	self.web = slipstream_given("count");
	self.sensor = slipstream_given("capture");
	if (self.sensor < 0 && name != NULL) {
		self.sensor = open(name, O_RDWR | O_CLOEXEC);
		if (self.sensor < 0 || slipstream_store("capture", self.sensor) != 0)
			die(name, strerror(errno));
	}
	if (schema != NULL && strcmp(schema, "count") == 0 && slipstream_state_take(&self.count, sizeof self.count) != sizeof self.count)
		die("state", "it is none of this camera's");
	self.began = self.count;
}

/* take has the sensor, or lets go of it. */
static void take(int goes)
{
	char path[64];
	if (!goes && self.turn >= 0) {
		close(self.turn);
		self.turn = -1;
	}
	if (!goes || self.turn >= 0 || self.sensor < 0)
		return;
	snprintf(path, sizeof path, "/proc/self/fd/%d", self.sensor);
	self.turn = open(path, O_RDWR | O_CLOEXEC);
	if (self.turn < 0 || flock(self.turn, LOCK_EX | LOCK_NB) != 0)
		die("sensor", "another one takes from it");
}

/* attend does what the agent says, and tells visitors the count. */
static void attend(void)
{
	char text[40];
	int visitor;
	while (slipstream_control_next(&self.control)) {
		if (strcmp(self.control.word, "capture") == 0)
			take(self.control.capture);
		slipstream_control_held(&self.control); /* an error shows at the next word */
		say("");
	}
	if (!self.control.listen || self.web < 0)
		return;
	fcntl(self.web, F_SETFL, O_NONBLOCK); /* it may be another version's, too */
	visitor = accept(self.web, NULL, NULL);
	if (visitor < 0)
		return;
	snprintf(text, sizeof text, "%llu\n", (unsigned long long)self.count);
	send(visitor, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(visitor);
}

/* counted is called after each picture. */
static void counted(unsigned fps)
{
	const char *marker = getenv("SLIPSTREAM_GREENLIGHT");
	int made;
	self.count++;
	if (self.count % fps != 0)
		return;
	if (slipstream_state_give(&self.count, sizeof self.count) != 0)
		fprintf(stderr, "camera: state: %s\n", strerror(errno));
	say("");
	if (marker == NULL || self.count - self.began < fps)
		return; /* a second of pictures is its self-test */
	made = open(marker, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (made >= 0)
		close(made);
}

/* play sends the film over one connection until that ends. */
static void play(struct slipstream *s, const struct film *f, unsigned fps)
{
	uint64_t frames = 0, sent = 0; /* while another one has the sensor time goes on */
	int64_t begin = slipstream_now();
	for (size_t i = 0;; i = (i + 1) % f->count) {
		struct nal n = f->nals[i];
		int64_t captured = begin + (int64_t)(frames * SECOND / fps);
		uint32_t ts = s->ssrc + (uint32_t)(frames * RTP_RATE / fps);
		if (i == 0 || is_slice(f->nals[i - 1])) {
			attend();
			if (self.sensor >= 0 && self.turn < 0) { /* at its turn it begins with a key frame */
				sleep_until(captured + SECOND / fps);
				frames++;
				i = f->count - 1;
				continue;
			}
			sleep_until(captured);
			if (sent % fps == 0 && slipstream_clock(s, ts, captured, sent + 1) != 0)
				return;
		}
		if (slipstream_nal(s, n.data, n.size, ts, is_slice(n)) != 0)
			return;
		frames += (uint64_t)is_slice(n);
		if (is_slice(n)) {
			sent++;
			counted(fps);
		}
		/* A live encoder would now be asked for a key frame; a film keeps its own. */
		if (slipstream_key_wanted(s) < 0)
			return;
	}
}

enum { SOUND_RATE = 8000, SOUND_PACKET = 160, SOUND_PACKETS = SOUND_RATE / SOUND_PACKET }; /* 20 ms each */

/* play_tone sends 1 kHz in G.711 (ITU-T G.711 table 5) over one connection. */
static void play_tone(struct slipstream *s)
{
	static const uint8_t period[8] = {0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e};
	uint8_t frames[SOUND_PACKET];
	int64_t begin = slipstream_now();
	for (size_t i = 0; i < sizeof frames; i++)
		frames[i] = period[i % sizeof period];
	for (uint64_t n = 0;; n++) {
		int64_t captured = begin + (int64_t)(n * SECOND / SOUND_PACKETS);
		uint32_t ts = s->ssrc + (uint32_t)(n * SOUND_PACKET);
		sleep_until(captured + SECOND / SOUND_PACKETS); /* its last sample was captured */
		if (n % SOUND_PACKETS == 0 && slipstream_clock(s, ts, captured, n + 1) != 0)
			return;
		if (slipstream_sound(s, frames, sizeof frames, ts) != 0 || slipstream_key_wanted(s) < 0)
			return;
	}
}

/* sound publishes the tone on a thread of its own, as the picture is published. */
static void *sound(void *stream)
{
	static const char sdp[] = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
		"m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
	struct slipstream s;
	for (;;) {
		if (slipstream_open(&s, getenv("SLIPSTREAM_PUBLISH"), (const char *)stream, sdp) == 0) {
			s.payload_type = 0;
			play_tone(&s);
		}
		fprintf(stderr, "camera: %s\n", s.error);
		slipstream_close(&s);
		sleep_until(slipstream_now() + SECOND / 20);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	static char sdp[8192];
	struct film film = {0};
	struct slipstream s;
	const char *stream = getenv("SLIPSTREAM_STREAM");
	int fps = argc == 3 || argc == 4 ? atoi(argv[2]) : 0;
	if (fps < 1 || fps > 1000)
		die("usage", "camera FILE.h264 FRAMES_PER_SECOND [SOUND_STREAM]");
	if (argc == 4 && pthread_create(&thread, NULL, sound, argv[3]) != 0)
		die(argv[3], "no thread for it");
	load(&film, argv[1]);
	split(&film);
	describe(sdp, sizeof sdp, &film);
	begin();
	say("READY=1\n"); /* before there are pictures: its turn may come only then */
	for (;;) { /* the forwarder may be replaced while the camera works */
		if (slipstream_open(&s, getenv("SLIPSTREAM_PUBLISH"), stream ? stream : "main", sdp) == 0)
			play(&s, &film, (unsigned)fps);
		fprintf(stderr, "camera: %s\n", s.error);
		slipstream_close(&s);
		sleep_until(slipstream_now() + SECOND / 20);
	}
}
