/*
 * slipstream.h: publish one stream of RTP to the Slipstream forwarder, from C, and
 * hand state, devices and sockets over from version to version.
 *
 * A single header without dependencies but libc and threads (-pthread). The
 * protocol is that of stream/publish/publish.go, which is its description.
 *
 *	#define _GNU_SOURCE
 *	#include "slipstream.h"
 *
 *	struct slipstream s;
 *	if (slipstream_open(&s, getenv("SLIPSTREAM_PUBLISH"), "main", sdp) < 0)
 *		die(s.error);
 *	for (;;) {
 *		... encode a frame that was captured at time t; n counts frames ...
 *		if (n % fps == 0)
 *			slipstream_clock(&s, ts, t, n + 1);
 *		slipstream_nal(&s, slice, size, ts, 1);
 *		if (slipstream_key_wanted(&s))
 *			... make the next frame a key frame ...
 *	}
 *
 * Other codecs go by slipstream_rtp, with the SDP of the same medium:
 *
 *	codec   rtpmap                 payload    RTP clock   key frame
 *	h264    H264/90000             RFC 6184   90 kHz      IDR picture
 *	h265    H265/90000             RFC 7798   90 kHz      IDR, BLA or CRA picture
 *	mjpeg   JPEG/90000 (type 26)   RFC 2435   90 kHz      every picture
 *	opus    opus/48000/2           RFC 7587   48 kHz      every packet
 *	pcmu    PCMU/8000 (type 0)     RFC 3551   8 kHz       every packet
 *	pcma    PCMA/8000 (type 8)     RFC 3551   8 kHz       every packet
 *	aac     mpeg4-generic/RATE/N   RFC 3640   RATE        every packet
 *
 * The packets of a picture share one RTP time, the last one has the marker bit,
 * and pictures are not reordered (no B-frames). A packet of sound holds whole
 * frames, at best 20 ms of them; slipstream_sound makes it. A sound is a stream of
 * its own, with a struct slipstream of its own. Both tell the capture clock, so
 * that viewers get them in step.
 *
 * Functions return 0, or -1 and say why in s.error; after an error the
 * connection is no longer usable: close it, open it again, go on with a key
 * frame. A struct slipstream belongs to one thread at a time.
 *
 * Around that an app that is to be updated without a trace also does:
 *
 *	slipstream_state_take(&state, sizeof state);     at the start: what the version before knew
 *	camera = slipstream_given("capture");            its open sensor; -1: open it yourself, then
 *	slipstream_store("capture", camera);             have it kept for the next one
 *	slipstream_notify("READY=1", -1);                before there are pictures, if it waits for its turn
 *	while (slipstream_control_next(&c)) ...          now and then: whose turn it is, key frames
 *	slipstream_state_give(&state, sizeof state);     whenever it has changed
 *
 * The first slipstream_open starts a thread that does nothing but hold the
 * process's lock: a robust futex, by which the forwarder learns of this
 * process's death before the kernel has torn its memory down. A process that
 * cannot have one publishes all the same. After fork() the lock stays with the
 * parent; the child should open no streams unless it calls exec first.
 */
#ifndef SLIPSTREAM_H
#define SLIPSTREAM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	SLIPSTREAM_MAX_PACKET = 2048,       /* bytes of one RTP packet */
	SLIPSTREAM_MAX_HELLO = 16 << 10,    /* bytes of stream name and SDP */
	SLIPSTREAM_PAYLOAD = 1188,          /* bytes in a packet of slipstream_nal and _sound */
	SLIPSTREAM_LOCK_SIZE = 4096,
	SLIPSTREAM_SEND_BUFFER = 4 << 20,   /* the default blocks after a key frame of 110 KB */
	SLIPSTREAM_PATIENCE_MS = 5000       /* for the forwarder's answer */
};

struct slipstream {
	int fd;                /* -1: not open; poll it for POLLIN to wait for wishes */
	uint16_t seq;          /* of the next packet that slipstream_nal or _sound makes */
	uint32_t ssrc;         /* the forwarder puts its own in place of it */
	uint8_t payload_type;  /* as in the SDP: 96 unless you change it */
	int key_wanted;
	char error[256];
};

/* slipstream_now is CLOCK_MONOTONIC in nanoseconds, the clock of capture times. */
static inline int64_t slipstream_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static inline int slipstream_fail(struct slipstream *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(s->error, sizeof s->error, format, args);
	va_end(args);
	return -1;
}

/* The process's lock: see "The lock" in publish.go. */

struct slipstream_robust { /* what the kernel reads when the thread has died */
	struct robust_list_head head;
	struct robust_list entry;
	uint32_t *word;
	pthread_barrier_t held;
	int failed;
};

static inline void *slipstream_hold(void *arg)
{
	struct slipstream_robust *r = (struct slipstream_robust *)arg;
	r->entry.next = &r->head.list;
	r->head.list.next = &r->entry;
	r->head.futex_offset = (long)((uintptr_t)r->word - (uintptr_t)&r->entry);
	r->head.list_op_pending = NULL;
	/* This thread uses no mutexes of libc, whose list this replaces. */
	if (syscall(SYS_set_robust_list, &r->head, sizeof r->head) != 0)
		r->failed = 1;
	else
		__atomic_store_n(r->word, (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS, __ATOMIC_SEQ_CST);
	pthread_barrier_wait(&r->held);
	if (r->failed)
		return NULL;
	for (;;)
		pause(); /* keeps the thread, and with it the lock */
}

static inline int slipstream_hold_thread(struct slipstream_robust *r)
{
	pthread_t thread;
	sigset_t all, before;
	int failed;
	if (pthread_barrier_init(&r->held, NULL, 2) != 0)
		return -1;
	sigfillset(&all); /* the app's signal handlers run on its own threads */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&thread, NULL, slipstream_hold, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
		return -1;
	pthread_detach(thread);
	pthread_barrier_wait(&r->held);
	return r->failed ? -1 : 0;
}

static inline int slipstream_make_lock(void)
{
	static struct slipstream_robust robust; /* must never move */
	int fd = (int)syscall(SYS_memfd_create, "slipstream-lock", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *page;
	if (fd < 0)
		return -1;
	if (ftruncate(fd, SLIPSTREAM_LOCK_SIZE) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		close(fd);
		return -1;
	}
	page = mmap(NULL, SLIPSTREAM_LOCK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		close(fd);
		return -1;
	}
	robust.word = (uint32_t *)page;
	if (slipstream_hold_thread(&robust) != 0) {
		munmap(page, SLIPSTREAM_LOCK_SIZE);
		close(fd);
		return -1;
	}
	return fd;
}

/* slipstream_lock is the memfd of this process's lock, -1 if it has none. Where
 * several files of a program include this header, each has its own. */
static inline int slipstream_lock(void)
{
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	static int made, memfd = -1;
	pthread_mutex_lock(&once);
	if (!made) {
		made = 1;
		memfd = slipstream_make_lock();
	}
	pthread_mutex_unlock(&once);
	return memfd;
}

static inline void slipstream_close(struct slipstream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* slipstream_receive takes one message: 1 if there was one, 0 if there is none
 * yet (or none within timeout_ms), -1 if the connection has ended. */
static inline int slipstream_receive(struct slipstream *s, int timeout_ms, char *kind)
{
	char buf[SLIPSTREAM_MAX_PACKET + 1];
	struct pollfd p;
	ssize_t n;
	if (s->fd < 0)
		return slipstream_fail(s, "the stream is not open");
	p.fd = s->fd;
	p.events = POLLIN;
	p.revents = 0;
	n = poll(&p, 1, timeout_ms);
	if (n == 0 || (n < 0 && errno == EINTR))
		return 0;
	n = recv(s->fd, buf, sizeof buf - 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return slipstream_fail(s, "receive: %s", strerror(errno));
	if (n == 0)
		return slipstream_fail(s, "the forwarder closed the connection");
	buf[n] = 0;
	if (buf[0] == 'E')
		return slipstream_fail(s, "refused: %s", buf + 1);
	if (buf[0] == 'K')
		s->key_wanted = 1;
	*kind = buf[0];
	return 1;
}

static inline int slipstream_hello(struct slipstream *s, const char *stream, const char *sdp)
{
	union { /* aligned for a cmsghdr */
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights;
	struct iovec parts[4];
	struct msghdr msg;
	struct cmsghdr *c;
	char start = 'S', newline = '\n';
	int lock = slipstream_lock();
	size_t i, total = 0;

	memset(&msg, 0, sizeof msg);
	memset(&rights, 0, sizeof rights);
	parts[0].iov_base = &start;
	parts[0].iov_len = 1;
	parts[1].iov_base = (void *)(uintptr_t)stream;
	parts[1].iov_len = strlen(stream);
	parts[2].iov_base = &newline;
	parts[2].iov_len = 1;
	parts[3].iov_base = (void *)(uintptr_t)sdp;
	parts[3].iov_len = strlen(sdp);
	for (i = 0; i < 4; i++)
		total += parts[i].iov_len;
	if (total > SLIPSTREAM_MAX_HELLO)
		return slipstream_fail(s, "stream name and SDP have %zu bytes, the limit is %d", total, (int)SLIPSTREAM_MAX_HELLO);
	msg.msg_iov = parts;
	msg.msg_iovlen = 4;
	if (lock >= 0) {
		msg.msg_control = rights.bytes;
		msg.msg_controllen = sizeof rights.bytes;
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof lock);
		memcpy(CMSG_DATA(c), &lock, sizeof lock);
	}
	if (sendmsg(s->fd, &msg, MSG_NOSIGNAL) < 0)
		return slipstream_fail(s, "send: %s", strerror(errno));
	return 0;
}

/* slipstream_open connects to the socket at path ($SLIPSTREAM_PUBLISH) and
 * declares a stream. The SDP has exactly one medium; sprop-parameter-sets may be
 * left out if the stream repeats its parameter sets before every key frame. */
static inline int slipstream_open(struct slipstream *s, const char *path, const char *stream, const char *sdp)
{
	struct sockaddr_un address;
	int buffer = SLIPSTREAM_SEND_BUFFER;
	int64_t end;
	char kind = 0;

	memset(s, 0, sizeof *s);
	s->fd = -1;
	s->payload_type = 96;
	s->ssrc = (uint32_t)slipstream_now();
	s->seq = (uint16_t)(s->ssrc >> 16);
	memset(&address, 0, sizeof address);
	address.sun_family = AF_UNIX;
	if (path == NULL || strlen(path) >= sizeof address.sun_path)
		return slipstream_fail(s, "no socket, or its path is too long");
	memcpy(address.sun_path, path, strlen(path));
	s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return slipstream_fail(s, "socket: %s", strerror(errno));
	setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer); /* smaller only blocks sooner */
	if (connect(s->fd, (struct sockaddr *)&address, sizeof address) != 0) {
		slipstream_fail(s, "connect to %s: %s", path, strerror(errno));
		slipstream_close(s);
		return -1;
	}
	if (slipstream_hello(s, stream, sdp) != 0) {
		slipstream_close(s);
		return -1;
	}
	for (end = slipstream_now() + (int64_t)SLIPSTREAM_PATIENCE_MS * 1000000; kind != 'A';) {
		int64_t left = (end - slipstream_now()) / 1000000;
		if (left <= 0) {
			slipstream_fail(s, "no answer from the forwarder");
			break;
		}
		if (slipstream_receive(s, (int)left, &kind) < 0)
			break;
	}
	if (kind != 'A') {
		slipstream_close(s);
		return -1;
	}
	return 0;
}

static inline int slipstream_send(struct slipstream *s, const void *message, size_t size)
{
	char kind;
	int failed;
	if (s->fd < 0)
		return slipstream_fail(s, "the stream is not open");
	while (send(s->fd, message, size, MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		failed = errno;
		while (slipstream_receive(s, 0, &kind) > 0)
			; /* the forwarder's own reason is the better one */
		if (s->error[0] == 0)
			slipstream_fail(s, "send: %s", strerror(failed));
		return -1;
	}
	return 0;
}

/* slipstream_rtp sends one RTP packet. All packets of an access unit share one
 * RTP time, and the last one carries the marker bit. It blocks while the
 * forwarder is behind by more than the socket's buffer. */
static inline int slipstream_rtp(struct slipstream *s, const void *packet, size_t size)
{
	const uint8_t *p = (const uint8_t *)packet;
	if (size < 12 || size > SLIPSTREAM_MAX_PACKET || p[0] >> 6 != 2)
		return slipstream_fail(s, "not an RTP packet of 12 to %d bytes", (int)SLIPSTREAM_MAX_PACKET);
	return slipstream_send(s, packet, size);
}

static inline void slipstream_put(uint8_t *to, uint64_t value, int bytes)
{
	while (bytes-- > 0) {
		to[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

/* slipstream_clock says that the frame with RTP time ts was captured at a time of
 * slipstream_now's clock, and how many frames were captured so far, that one
 * included (0: not known). Once a second is enough; without it, arrival times stand in. */
static inline int slipstream_clock(struct slipstream *s, uint32_t ts, int64_t captured, uint64_t frames)
{
	uint8_t msg[21];
	msg[0] = 'C';
	slipstream_put(msg + 1, ts, 4);
	slipstream_put(msg + 5, (uint64_t)captured, 8);
	slipstream_put(msg + 13, frames, 8);
	return slipstream_send(s, msg, sizeof msg);
}

/* slipstream_nal sends one H.264 NAL unit (without start code) of the access unit
 * with RTP time ts, in as many packets as it needs (RFC 6184 §5.6 and §5.8, FU-A).
 * last says that it is the access unit's last one. */
static inline int slipstream_nal(struct slipstream *s, const void *nal, size_t size, uint32_t ts, int last)
{
	const uint8_t *from = (const uint8_t *)nal;
	uint8_t packet[12 + SLIPSTREAM_PAYLOAD];
	size_t head = 12, part;
	int whole = size <= SLIPSTREAM_PAYLOAD, first = 1;

	if (size == 0)
		return slipstream_fail(s, "an empty NAL unit");
	packet[0] = 0x80;
	slipstream_put(packet + 4, ts, 4);
	slipstream_put(packet + 8, s->ssrc, 4);
	if (!whole) {
		packet[12] = (uint8_t)((from[0] & 0x60) | 28);
		packet[13] = from[0] & 0x1f;
		head = 14;
		from++;
		size--;
	}
	while (size > 0) {
		part = sizeof packet - head;
		if (part > size)
			part = size;
		packet[1] = s->payload_type & 0x7f;
		if (last && part == size)
			packet[1] |= 0x80;
		slipstream_put(packet + 2, s->seq++, 2);
		if (!whole)
			packet[13] = (uint8_t)((packet[13] & 0x1f) | (first ? 0x80 : 0) | (part == size ? 0x40 : 0));
		memcpy(packet + head, from, part);
		if (slipstream_rtp(s, packet, head + part) != 0)
			return -1;
		from += part;
		size -= part;
		first = 0;
	}
	return 0;
}

/* slipstream_sound sends one packet of Opus or G.711: whole frames, which begin at
 * RTP time ts. */
static inline int slipstream_sound(struct slipstream *s, const void *frames, size_t size, uint32_t ts)
{
	uint8_t packet[12 + SLIPSTREAM_PAYLOAD];
	if (size == 0 || size > SLIPSTREAM_PAYLOAD)
		return slipstream_fail(s, "a packet of sound has 1 to %d bytes", (int)SLIPSTREAM_PAYLOAD);
	packet[0] = 0x80;
	packet[1] = s->payload_type & 0x7f;
	slipstream_put(packet + 2, s->seq++, 2);
	slipstream_put(packet + 4, ts, 4);
	slipstream_put(packet + 8, s->ssrc, 4);
	memcpy(packet + 12, frames, size);
	return slipstream_rtp(s, packet, 12 + size);
}

/* slipstream_key_wanted says whether the forwarder has wished for a key frame
 * since the last call: 1 yes, 0 no, -1 the connection has ended. It never blocks. */
static inline int slipstream_key_wanted(struct slipstream *s)
{
	char kind;
	int got, wanted;
	while ((got = slipstream_receive(s, 0, &kind)) > 0)
		;
	if (got < 0)
		return -1;
	wanted = s->key_wanted;
	s->key_wanted = 0;
	return wanted;
}

/*
 * What follows is for apps that hand over more than pictures. All of it works without
 * an agent: then nothing is given, and nothing is heard.
 */

enum {
	SLIPSTREAM_MAX_STATE = 16 << 20, /* bytes that an app may hand over */
	SLIPSTREAM_MAX_WORD = 128,       /* bytes that the agent says at once */
	SLIPSTREAM_LISTEN_FDS = 3        /* the first descriptor that is given */
};

/* slipstream_send_with sends one message with a descriptor, -1 for none. */
static inline int slipstream_send_with(int socket, const void *message, size_t size, int fd)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} rights;
	struct iovec part;
	struct msghdr msg;
	struct cmsghdr *c;
	ssize_t n;
	memset(&msg, 0, sizeof msg);
	memset(&rights, 0, sizeof rights);
	part.iov_base = (void *)(uintptr_t)message;
	part.iov_len = size;
	msg.msg_iov = &part;
	msg.msg_iovlen = 1;
	if (fd >= 0) {
		msg.msg_control = rights.bytes;
		msg.msg_controllen = sizeof rights.bytes;
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	while ((n = sendmsg(socket, &msg, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	return n < 0 ? -1 : 0;
}

/* slipstream_dial opens a unix socket of a kind and connects it to path. */
static inline int slipstream_dial(int kind, const char *path)
{
	struct sockaddr_un address;
	int fd, failed;
	memset(&address, 0, sizeof address);
	address.sun_family = AF_UNIX;
	if (path == NULL || strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
		failed = errno;
		close(fd);
		errno = failed;
		return -1;
	}
	return fd;
}

/* slipstream_notify says words such as "READY=1" or "WATCHDOG=1" to the agent (as
 * sd_notify(3)), with a descriptor or -1: 0, or -1 with errno. Without NOTIFY_SOCKET
 * nobody listens, which is no error. */
static inline int slipstream_notify(const char *words, int fd)
{
	const char *path = getenv("NOTIFY_SOCKET");
	int socket, done, failed;
	if (path == NULL)
		return 0;
	socket = slipstream_dial(SOCK_DGRAM, path);
	if (socket < 0)
		return -1;
	done = slipstream_send_with(socket, words, strlen(words), fd);
	failed = errno;
	close(socket);
	errno = failed;
	return done;
}

/* slipstream_store has the agent keep a descriptor under a name of letters and digits:
 * the next version, and the next run of this one, finds it by slipstream_given. */
static inline int slipstream_store(const char *name, int fd)
{
	char words[300];
	int n = snprintf(words, sizeof words, "FDSTORE=1\nFDNAME=%s", name);
	if (n < 0 || (size_t)n >= sizeof words) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return slipstream_notify(words, fd);
}

/* slipstream_given is the descriptor that this process was started with under a name
 * (sd_listen_fds(3)): one that was stored, or a listening socket that the manifest
 * declares. -1: there is none. */
static inline int slipstream_given(const char *name)
{
	const char *pid = getenv("LISTEN_PID"), *names = getenv("LISTEN_FDNAMES");
	size_t length = strlen(name), part;
	int i;
	if (pid == NULL || names == NULL || strtol(pid, NULL, 10) != (long)getpid())
		return -1;
	for (i = 0;; i++) {
		part = strcspn(names, ":");
		if (part == length && memcmp(names, name, length) == 0)
			return SLIPSTREAM_LISTEN_FDS + i;
		if (names[part] == 0)
			return -1;
		names += part + 1;
	}
}

/* slipstream_state_take reads the state that the version before has handed over; its
 * schema is in SLIPSTREAM_STATE_SCHEMA. It returns its size, 0 if there is none, -1 with
 * errno (EMSGSIZE: there is more than room). It may be read again. */
static inline ssize_t slipstream_state_take(void *to, size_t room)
{
	int fd = slipstream_given("state");
	off_t size;
	size_t got = 0;
	ssize_t n;
	if (fd < 0)
		return 0;
	size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return -1;
	if ((uint64_t)size > room) {
		errno = EMSGSIZE;
		return -1;
	}
	while (got < (size_t)size) {
		n = pread(fd, (char *)to + got, (size_t)size - got, (off_t)got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

/* slipstream_state_give hands a state over, in place of the one before: 0, or -1 with
 * errno. Do so whenever it has changed: who dies cannot. The manifest must declare its
 * schema (app.state). It is copied here and sealed, so that nobody can tear it. */
static inline int slipstream_state_give(const void *state, size_t size)
{
	int fd, done = -1, failed;
	size_t put = 0;
	ssize_t n;
	if (size > SLIPSTREAM_MAX_STATE) {
		errno = EMSGSIZE;
		return -1;
	}
	fd = (int)syscall(SYS_memfd_create, "state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	while (put < size) {
		n = write(fd, (const char *)state + put, size - put);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		put += (size_t)n;
	}
	if (put == size && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) == 0)
		done = slipstream_store("state", fd);
	failed = errno;
	close(fd);
	errno = failed;
	return done;
}

/*
 * struct slipstream_control is the conversation at SLIPSTREAM_CONTROL, which package
 * stream/control describes. Set fd to -1 first, call slipstream_control_next in turn,
 * and look at the rest.
 */
struct slipstream_control {
	int fd;         /* -1: not connected; poll it for POLLIN to wait for words */
	char role[32];  /* "permanent", "trial", "standby"; "" until it is told */
	int capture;    /* 1: take from the sensor or encoder, 0: do not */
	int listen;     /* 1: accept on the listening sockets, 0: do not */
	int owes;       /* answers to holds, see slipstream_control_held */
	char word[32];  /* the newest word and its argument */
	char arg[SLIPSTREAM_MAX_WORD];
	int64_t retry;  /* when to connect again */
};

/* slipstream_control_held answers the hold that was heard last, as soon as nothing of
 * the device, or of the sockets, is in this process's hands. */
static inline int slipstream_control_held(struct slipstream_control *c)
{
	char words[40];
	int n;
	if (!c->owes)
		return 0;
	c->owes = 0;
	n = snprintf(words, sizeof words, "%s hold", c->word);
	return slipstream_send_with(c->fd, words, (size_t)n, -1);
}

static inline void slipstream_control_lost(struct slipstream_control *c)
{
	close(c->fd);
	c->fd = -1;
	c->owes = 0;
	c->retry = slipstream_now() + 100000000;
}

static inline void slipstream_control_connect(struct slipstream_control *c)
{
	const char *path = getenv("SLIPSTREAM_CONTROL");
	if (path == NULL || slipstream_now() < c->retry)
		return;
	c->fd = slipstream_dial(SOCK_SEQPACKET, path);
	if (c->fd < 0)
		c->retry = slipstream_now() + 100000000;
}

/* slipstream_control_next takes one word, and says whether there was one: 1 or 0. It
 * never blocks, and connects again by itself; until then everything stays as it was
 * told last. At 1 look at c->word:
 *
 *	"role"      c->role is new
 *	"keyframe"  the next picture of stream c->arg should be a key frame
 *	"capture"   c->capture is new: at 0 let go of the device, and then, within 200 ms and
 *	            before the next word, call slipstream_control_held
 *	"listen"    the same for c->listen
 */
static inline int slipstream_control_next(struct slipstream_control *c)
{
	char buf[SLIPSTREAM_MAX_WORD + 1];
	char *space;
	ssize_t n;
	int goes;
	if (c->fd < 0)
		slipstream_control_connect(c);
	if (c->fd < 0)
		return 0;
	n = recv(c->fd, buf, sizeof buf - 1, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		slipstream_control_lost(c);
		return 0;
	}
	c->word[0] = c->arg[0] = 0;
	c->owes = 0;
	if ((size_t)n >= sizeof buf)
		return 1; /* of a later version */
	buf[n] = 0;
	space = strchr(buf, ' ');
	if (space == NULL || (size_t)(space - buf) >= sizeof c->word)
		return 1;
	*space = 0;
	memcpy(c->word, buf, strlen(buf) + 1);
	memcpy(c->arg, space + 1, strlen(space + 1) + 1);
	goes = strcmp(c->arg, "go") == 0;
	if (strcmp(c->word, "role") == 0 && strlen(c->arg) < sizeof c->role)
		memcpy(c->role, c->arg, strlen(c->arg) + 1);
	if (strcmp(c->word, "capture") == 0)
		c->capture = goes;
	else if (strcmp(c->word, "listen") == 0)
		c->listen = goes;
	else
		return 1;
	c->owes = strcmp(c->arg, "hold") == 0;
	return 1;
}

#ifdef __cplusplus
}
#endif

#endif
