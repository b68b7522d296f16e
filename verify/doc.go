// Package verify answers one question: may this device run this package?
//
// It keeps one promise: what it returns was signed, whole, by a key that the
// device trusts, and is for this product and hardware and not older than what
// the device had. Nothing of a signed document is parsed before its signature is
// right, and no length is used before it was checked against a signed or fixed
// limit.
//
// # The package
//
// A package is one plain ustar file, PRODUCT-VERSION.slip:
//
//	0     ┌──────────────────────────────┐
//	      │ header (512 bytes)           │ gives its own size, at most MaxBundle
//	512   │ manifest.sigstore.json       │ sigstore bundle v0.3: DSSE with one
//	      │ zeros up to a record         │ ECDSA P-256 signature over a Statement
//	      ├──────────────────────────────┤
//	      │ header                       │ from here on name and size come from the
//	      │ IMAGE.chunks                 │ manifest: N × (u32be length, SHA-256)
//	      │ zeros up to a record         │
//	      ├──────────────────────────────┤
//	      │ header                       │
//	      │ IMAGE                        │ the slot image, raw
//	      │ zeros up to a record         │
//	      ├──────────────────────────────┤ … further images
//	      │ two records of zeros         │
//	      └──────────────────────────────┘ end of file
//
// Headers are those of tar --format=ustar --owner=0 --group=0 --numeric-owner
// --mtime=@0 --mode=0644 -b1. Each is rebuilt from the name and size that must
// stand there and compared whole, so for us nothing else of tar exists: no links,
// no long names, no sparse files, no second spelling of a number. All offsets
// follow from the manifest, and so a part can be fetched by an HTTP range.
//
// The signed document is an in-toto Statement v1. Its subjects are the chunk
// index and the image of each image in the order of the file, its predicate is
// the [Manifest]. The package's name everywhere is its digest: the SHA-256 of the
// statement's bytes. The bundle around them may be signed again, by random, with
// the same digest.
//
// The layout of an image of kind "tree" is described in package pack.
//
// # Checking a package without this code
//
// In a POSIX shell with tar, openssl, jq and sha256sum, for a package that lies
// beside the public key of its maker:
//
//	set -eu
//	package=x.slip key=key.pub
//
//	# The head is the first file. Out of it come the signed bytes and the signature.
//	tar -xf "$package" manifest.sigstore.json
//	jq -r .dsseEnvelope.payload manifest.sigstore.json | base64 -d > statement.json
//	jq -r '.dsseEnvelope.signatures[0].sig' manifest.sigstore.json | base64 -d > sig
//	type=$(jq -r .dsseEnvelope.payloadType manifest.sigstore.json)
//	test "$type" = application/vnd.in-toto+json
//
//	# DSSE signs its version, the type and the bytes, each with its length.
//	{ printf 'DSSEv1 %d %s %d ' ${#type} "$type" $(wc -c < statement.json); cat statement.json; } > pae
//	openssl dgst -sha256 -verify "$key" -signature sig pae
//
//	# From here on the statement can be believed. It must be a release, and its
//	# subjects must be the files behind the head: these names, in this order.
//	test "$(jq -r .predicateType statement.json)" = urn:slipstream:release:v1
//	jq -r '.subject[].name' statement.json > names
//	jq -r '.predicate.images[] | .name + ".chunks", .name' statement.json | cmp - names
//	tar -tf "$package" | tail -n +2 | cmp - names
//
//	# Their hashes, as the statement gives them.
//	tar -xf "$package"
//	jq -r '.subject[] | .digest.sha256 + "  " + .name' statement.json | sha256sum --strict -c
//
//	# The package's digest, by which devices and people name it.
//	sha256sum < statement.json
//
// Comparing the names is part of it: a hash alone says that a file is one of
// those that were signed, not which. What is left to this package is strictness
// (one spelling of each byte, limits) and the device's own rules. A test runs
// exactly these lines.
//
// # Order of the checks
//
// Header and size of the head's files; then, in one function, judge: strict JSON,
// shape of the bundles, chains of roots, enough signatures, strict JSON of the
// statement, format, values, subjects; product, hardware, dates, counters, epoch
// ([Manifest.Allow]); the fleet's order; packages taken back. Then the length of the
// file, headers, padding and end; hash and content of the chunk indexes: [Open] is done.
// Who writes an image hashes each chunk in memory before it is written, and the
// whole on reading back; [Package.CheckAll] does the same without writing.
//
// Each refusal is an [Error] with its own code and a sentence for the person who
// stands before the device. Errors without a [Code] mean that reading failed.
//
// # What it defends against
//
// Foreign, changed, cut and extended packages; packages for other devices;
// old packages; two JSON or tar readers that understand one file differently;
// files made to exhaust memory: the head's two copies, one chunk and 48 bytes for
// each of at most MaxChunks chunks are all that is held.
//
// # What it does not do
//
// It keeps nothing: floors, secure time, the newest roots and the newest order are
// its caller's, outside of the slots. [Device] is what they say today, and
// [Package.Learned] what an accepted package adds. A malleable ECDSA signature
// (s and n-s are both valid) is accepted: nothing is ever identified by its
// signature.
//
// Who replaces the file between Open and reading is caught by the chunk hashes,
// which are in memory.
//
// Rejected: signing the whole file (it must be read whole before the first byte
// is trusted); compression around the file (no ranges, and bombs); a tar library
// for reading (it understands far more than is allowed here); the key id of a
// bundle as a choice of key (all trusted keys are tried, a wrong id is refused).
package verify
