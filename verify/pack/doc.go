// Package pack builds and signs packages, and makes the roots and orders by which
// they are trusted: what package verify reads.
//
// It promises that the same directory, manifest and issuedAt give the same
// signed statement, byte for byte, and so the same package digest, on any
// machine; signed by a key in a file also the same package. It keeps the
// contents of no file in memory: the directory is read twice, once to hash it
// and once to write it, and a directory that changed in between is an error.
//
// It signs nothing that a device would refuse for its own sake: every document is
// read by package verify before. Signatures are added to a package without its
// statement changing by a byte ([File]), so that keys which must sign together may
// lie in different places.
//
// # Tree images
//
// An image of kind "tree" is a directory as one canonical ustar file. Its readers
// may rely on exactly this:
//
//   - written by Go's archive/tar in Format USTAR; paths are ASCII, relative,
//     clean, and short enough for ustar; links are at most 100 bytes;
//   - entries are in strictly ascending byte order of their path without the
//     slash that ends a directory's, so parents come before their children and no
//     path comes twice; the root directory itself has no entry;
//   - three types: directories (mode 0755), regular files (mode 0644, or 0755 if
//     anybody may execute it) and symbolic links (mode 0777);
//   - links are relative, clean, and stay inside: ".." stands only at their
//     beginning and not more often than the link is deep. Since every parent is a
//     real directory, no chain of links leaves the tree either;
//   - uid, gid and mtime are 0, user and group names empty;
//   - the end is two zero records and nothing else.
//
// At most [MaxEntries] entries.
//
// Everything else (devices, sockets, FIFOs, setuid files, absolute links) is
// refused when the package is built, with the path at fault.
//
// # File systems
//
// An image of kind "erofs" or "squashfs" is made by mkfs.erofs or mksquashfs out of
// a copy of the directory in the tree's canonical form, or taken as it is from a
// file. The same directory gives the same image with the same version of these
// programs; between their versions it may differ.
//
// Behind the file system, filled up to a whole block, come a block for the program
// veritysetup and the hash tree of the kernel's dm-verity (package slots/verity). The
// salt is made from the product's name, so that what did not change keeps its hashes.
//
// # Chunks
//
// The image is cut by package chunk of slots, as devices cut it.
//
// Rejected: a temporary file for the image (it would need as much disk again,
// and reading twice is enough); taking modes and times from the disk (two
// checkouts of one commit would then differ).
package pack
