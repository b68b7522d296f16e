// Package fetch reads one file of a server by HTTP ranges.
//
// It keeps one promise: every byte that it hands out came in an answer that said
// it was exactly the range asked for, had exactly that length, and was of the
// file as it was when it was first asked for. Anything else is an error, and is
// never taken for the file.
//
// # An answer
//
// It is taken if all of this holds (RFC 9110, §14.4 and §15.3.7):
//
//   - its status is 206;
//   - it has one Content-Range, in its one spelling, from the first byte asked
//     for to the last, or to the last of the file; the size of the file is known;
//   - it is one range and not multipart/byteranges, in no content coding;
//   - size and ETag are those of the first answer;
//   - its body has the length of the range: a byte less or more is an error that
//     comes before the last bytes are handed out.
//
// # Limits
//
// An answer's header has at most [MaxHeader] bytes, informational answers before it
// included, and at most [MaxRedirects] redirects lead to it, each to the same host
// by the same scheme: a token is shown to nobody else, and nobody is led out of TLS.
// What is not asked for is not read, but for one byte behind a body. Nothing is
// tried again here, and how long to wait is the caller's to say, by a context or the
// client's Timeout.
//
// # What it does not do
//
// It cannot know whether the bytes are those of the package: a server may say the
// right thing of the wrong bytes. Whoever reads hashes.
//
// Rejected: If-Range (a server that no longer has the file would send all of it);
// the whole file where a server knows no ranges (a package of gigabytes, read from
// its beginning for each range of it); several ranges in one request (many servers
// and all caches do them badly).
package fetch
