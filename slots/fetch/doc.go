// Package fetch reads one file of a server by HTTP ranges, over lines that break.
//
// It keeps one promise: every byte that it hands out came in an answer that said
// it was exactly the range asked for, and was of the file as it was when it was
// first asked for. Anything else is an error, and is never taken for the file.
//
// [File] asks once; a [Download] asks again for what a connection did not bring,
// from the byte on where it stopped, and takes no more of the line than it may.
//
// # An answer
//
// It is taken if all of this holds (RFC 9110, §14.4 and §15.3.7):
//
//   - its status is 206;
//   - it has one Content-Range, in its one spelling, from the first byte asked
//     for to the last, or to the last of the file; the size of the file is known;
//   - it is one range and not multipart/byteranges, in no content coding;
//   - size and ETag are those of the first answer, which a strong ETag asks for
//     by If-Match;
//   - its body has the length of the range: a byte less or more is an error that
//     comes before the last bytes are handed out.
//
// An answer's header has at most [MaxHeader] bytes, informational answers before it
// included, and at most [MaxRedirects] redirects lead to it, each to the same host
// by the same scheme: what a client shows is shown to nobody else, and nobody is led out of TLS.
// What is not asked for is not read, but for one byte behind a body.
//
// # What is tried again
//
// No answer; a connection that breaks or brings less than it said; one that gives
// not a byte for [Limits].Stall, or in a Window less than MinRate; the statuses
// 408, 429 and 5xx, but for 501 and 505. Everything else would only fail again and
// ends the download: another file, another range, a body that is too long, any
// other status, a redirect to elsewhere, a certificate that is not accepted.
//
// # Limits
//
//	Stall      30 s       without a byte, the wait for the answer included, end an attempt
//	MinRate    8000 B/s   over Window, 30 s, likewise. Only waiting for the server counts, not
//	                      its reader, nor MaxRate, of which it is at most a half
//	Attempts   8          in a row that were in vain end the download: they brought less than
//	                      Progress, 64 KiB, or were too slow. A server that has never answered
//	                      is asked FirstAttempts times, 3: the address may be wrong
//	pause      1 s        after the first in vain, doubled up to MaxPause, 1 min, less a random
//	                      part of up to a half; at least Retry-After, up to MaxRetryAfter, 5 min
//	Total      12 h       from Begin to the last byte
//	MaxRate    none       bytes a second that are handed out
//
// MaxRate is kept over each twentieth of a second, and never by more than 64 KiB. A
// kernel takes in a window more than is read; up to half a megabyte a second it is
// told to have room for a quarter of a second only, and takes up to twice that.
// Measured over loopback at 20 kB/s: 23 kB ahead of the reader, 114 kB without; at
// 125 kB/s 43 and 118. Above, its own adaptation keeps to about a tenth of a second.
//
// A context ends everything at once, with its own error. All other errors of a
// Download are an [Error], a sentence that says what to do; it may be asked again
// for the rest at any time, by another Download as well.
//
// # What it does not do
//
// It cannot know whether the bytes are those of the package: a server may say the
// right thing of the wrong bytes. Whoever reads hashes. A server that names no ETag
// is held to the size alone.
//
// Rejected: If-Range (a server that no longer has the file would send all of it);
// the whole file where a server knows no ranges (a package of gigabytes, read from
// its beginning for each range of it); several ranges in one request (many servers
// and all caches do them badly); HTTP/2 of its own (Go's transport lets a server be 4 MiB ahead of
// whoever reads, whatever limit he keeps; who brings a connection by [Over] sets its window); SO_MAX_PACING_RATE (it paces what is
// sent); a limit that gives way to the streams by itself (what a line can carry is
// known to whoever bought it, not to the device).
package fetch
