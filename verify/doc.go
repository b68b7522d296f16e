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
//	      ┆ manifest.2.sigstore.json …   ┆ if there are several: further signatures over
//	      ┆                              ┆ the same bytes, at most MaxSignatures in all
//	      ┆ trust/2.root.json …          ┆ roots that follow those of devices in the field,
//	      ┆ trust/fleet.2.root.json …    ┆ the vendor's and the fleet's, in order
//	      ┆ trust/order.sigstore.json …  ┆ the fleet's order, with all its signatures
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
// beside the public keys of those who may sign it, of whom need must have:
//
//	set -eu
//	package=x.slip keys='key.pub' need=1
//
//	# The head is the first file; further signatures follow it. Out of the first come the
//	# signed bytes. DSSE signs its version, their type and them, each with its length.
//	tar -tf "$package" | grep -x -e 'manifest[.]sigstore[.]json' -e 'manifest[.][2-8][.]sigstore[.]json' > heads
//	tar -xf "$package" $(cat heads)
//	jq -r .dsseEnvelope.payload manifest.sigstore.json | base64 -d > statement.json
//	type=application/vnd.in-toto+json
//	{ printf 'DSSEv1 %d %s %d ' ${#type} "$type" $(wc -c < statement.json); cat statement.json; } > pae
//
//	# Who has signed them. A key counts once, however many files it is in or has signed.
//	: > signers
//	for head in $(cat heads); do
//		jq -r .dsseEnvelope.payload "$head" | base64 -d | cmp - statement.json
//		jq -r '.dsseEnvelope.signatures[0].sig' "$head" | base64 -d > sig
//		for key in $keys; do
//			if openssl dgst -sha256 -verify "$key" -signature sig pae > /dev/null 2>&1; then
//				echo "$key has signed it"
//				openssl pkey -pubin -in "$key" -outform DER | sha256sum >> signers
//			fi
//		done
//	done
//	test $(sort -u signers | wc -l) -ge $need
//
//	# From here on the statement can be believed. It must be a release, and its
//	# subjects must be the files behind the head: these names, in this order.
//	test "$(jq -r .predicateType statement.json)" = urn:slipstream:release:v1
//	jq -r '.subject[].name' statement.json > names
//	jq -r '.predicate.images[] | .name + ".chunks", .name' statement.json | cmp - names
//	tar -tf "$package" | grep -v -x -e 'manifest[.2-9]*[.]sigstore[.]json' -e 'trust/.*' | cmp - names
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
// # Making a package without this code
//
// In a POSIX shell with tar, jq, the coreutils and cosign, for a directory app that
// lies beside the key release.key of cosign's (cosign import-key-pair makes it of
// any other):
//
//	set -eu
//	LC_ALL=C; export LC_ALL
//
//	# The image: the directory as a tar file in its one canonical form.
//	chmod -R u=rwX,go=rX app
//	(cd app && find . -mindepth 1 -printf '%P\n') | sort > list
//	tar --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 -b1 \
//		--no-recursion -C app --verbatim-files-from -T list -cf app.tree
//
//	# Its chunks. Any pieces of at most 256 KiB will do; where they are cut decides
//	# only how much devices must fetch for the next version.
//	split -b 65536 -a 5 -d app.tree piece.
//	for piece in piece.*; do
//		printf '%08X' $(wc -c < "$piece")
//		sha256sum < "$piece" | cut -c 1-64 | tr a-f A-F
//	done | tr -d '\n' | basenc --base16 -d > app.tree.chunks
//
//	# What is said of the version, in full: there are no defaults.
//	cat > predicate.json <<'END'
//	{"format": 1, "product": "gatecam", "hardware": ["cam-a1"], "version": "2.0.0",
//	 "releaseCounter": 2, "securityEpoch": 0, "issuedAt": "2026-11-23T10:00:00Z",
//	 "app": {"exec": ["/bin/sh", "camera"], "overlap": "full", "greenlight": "app",
//	         "streams": [{"name": "main", "codec": "h264", "width": 1280, "height": 720}],
//	         "startTimeoutMs": 10000, "deadlineMs": 60000, "soakMs": 2000, "stopTimeoutMs": 3000,
//	         "restartMax": 3, "restartWindowMs": 60000}}
//	END
//	jq -n -c -j --slurpfile predicate predicate.json \
//		--argjson size $(wc -c < app.tree) --arg image $(sha256sum < app.tree | cut -c 1-64) \
//		--argjson count $(ls piece.* | wc -l) --arg index $(sha256sum < app.tree.chunks | cut -c 1-64) '
//		{_type: "https://in-toto.io/Statement/v1", predicateType: "urn:slipstream:release:v1",
//		 subject: [{name: "app.tree.chunks", digest: {sha256: $index}}, {name: "app.tree", digest: {sha256: $image}}],
//		 predicate: ($predicate[0] + {images: [{name: "app.tree", class: "live", kind: "tree",
//			size: $size, sha256: $image, chunks: {sha256: $index, count: $count}}]})}' > statement.json
//
//	# The signature. The two empty files keep cosign from asking the network.
//	cosign signing-config create --out signing.json
//	cosign trusted-root create --out trusted.json
//	cosign attest-blob --yes --key release.key --signing-config signing.json --trusted-root trusted.json \
//		--statement statement.json --bundle manifest.sigstore.json
//
//	# The package.
//	tar --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=0644 -b1 \
//		-cf gatecam-2.0.0.slip manifest.sigstore.json app.tree.chunks app.tree
//
// And cosign checks one, without any network, file by file:
//
//	cosign verify-blob-attestation --key release.pub --bundle manifest.sigstore.json \
//		--type urn:slipstream:release:v1 --insecure-ignore-tlog=true app.tree
//
// It says that the file is one of those that were signed, and not which.
//
// # Parties
//
// Four parties hold keys. Each can do one thing, and none can do another's:
//
//   - The vendor's root keys, two or three, offline, some of which must sign
//     together. They sign nothing but the vendor's root: the list of all its keys.
//   - The vendor's release keys, in a KMS or HSM. They sign releases, and so decide
//     what a software is: its bytes, its hardware, its counters.
//   - The fleet's order keys, at the panel. They sign orders, and so choose which of
//     the vendor's releases a device may take, and when. They make no release.
//   - The fleet's freshness key, online. It says what time it is, and nothing else.
//
// The fleet's own root keys, offline, sign the fleet's root as the vendor's do. A
// mirror, a TLS certificate, a USB stick and the panel's login are no parties:
// whatever comes through them is judged alike.
//
// # Roots
//
// A root is TUF root metadata (specification 1.0, §4.3; go-tuf reads it, and is used
// for nothing else). It names the keys of each role, and how many of them must sign:
//
//	            vendor's root                 fleet's root
//	root        signs the next root           signs the next root
//	targets     signs releases                signs orders
//	timestamp   –                             signs the time
//	snapshot    –                             –
//
// and says in its signed member "slipstream", the [Terms], whose it is and what only
// it may say: the lowest security epoch and releases, packages taken back, or the
// fleet's policy for packages without an order. Keys are ECDSA P-256 and nothing
// else. They are counted by their material, never by their names: a root that
// has one key under two names is refused, and a key that signed twice counts once.
//
// A device believes its first root because of where it lies: the vendor's in the
// verified image, the fleet's because a person at the device enrolled it. Every
// other root is believed because of the one before it: its number is exactly one
// higher, and enough root keys of both have signed it ([Root.Next]). So keys are
// rotated by publishing a root, and a key that the newest root leaves out is
// revoked. Roots travel in packages (trust/N.root.json, the whole chain, so that a
// device may have slept through any number of them) and by the fleet's link.
// An expired root accepts no release and no order. It can still be followed, or
// one missed ceremony would end a product.
//
// Before a root, or anything else that is signed, is handed to a library, a strict
// scan has read it: one spelling of every member and number, no duplicates, limits
// on depth and size. Libraries are more generous, each in its own way.
//
// # Thresholds
//
// A sigstore bundle holds one signature. A release that two must sign has two
// bundles over the same bytes, manifest.sigstore.json and manifest.2.sigstore.json;
// they are made on different machines, one after another. Bundles by keys that a
// device does not know are passed over, so that around a rotation one package can
// have signatures of old and new keys.
//
// # Without a key
//
// A release can also be signed by an identity, such as a build of a certain
// repository: its bundle has a certificate of a few minutes (Fulcio), an entry in a
// public log (Rekor) and a time stamp. The vendor's root says which identities may
// ([Keyless]), and carries sigstore's trusted_root.json, by which all of it is
// checked without network and clock. An identity counts as one of those that must
// sign, and where the log has its entry is told ([Package.Logged]). Orders and the time
// are never signed so.
//
// It costs eleven megabytes of program, and is there with the build tag keyless
// only. Without the tag such a bundle is refused by name.
//
// # Hash trees
//
// An erofs or squashfs image may end with the hash tree of the kernel's dm-verity,
// of which the manifest has the parameters and the root hash ([Verity]). They are
// checked here for being the only ones that fit the image's size; whether data, tree
// and root fit together is for whoever writes the image to find out, for it reads all
// of it.
//
// # Encryption
//
// Images can be encrypted by age for some recipients. The member is then the age
// file: the statement's subject, the chunks and the size are those of it, and the
// [Encryption] beside them signs size and hash of what it is decrypted, since age
// itself says nothing about who encrypted. Devices refuse such an image so far.
//
// # A file of keys
//
// Instead of a root a device can have a file of PEM public keys ([ParseTrust]): any
// one of them is enough. That is right for a desk, a demo and a product's first
// weeks. It lacks rotation, thresholds, revocation and expiry, other than by
// changing the file on every device, and the vendor's lowest epoch and releases.
//
// # Orders
//
// A device that belongs to a fleet needs two words for a package, of two parties
// that share no key: the release, and an [Order]: this package, for these devices,
// until then. It comes by the link or lies in the package as
// trust/order.sigstore.json. Orders are numbered. A device remembers the newest that
// it obeyed, and refuses older ones, and others of the same number. The same order
// may come again, because stagings are interrupted. An order's expiry bounds how
// long it can wait on a stick; what is staged already it does not touch.
//
// Without an order, on a stick, the fleet's policy decides, signed in its root:
// OfflineOrder refuses, OfflineRelease is content with the release. A package
// that comes by the link always needs one, and an order that is there must be right.
//
// Leaving a fleet needs a person at the device (slipstream leave), and is logged: nothing that a
// network says, a stick holds or a configuration leaves out ends the fleet's say.
// It is also the way out of a fleet whose keys are lost. It gives nothing away: the
// vendor's signature and the floors stay.
//
// # Rollback
//
// What a version is called is for people. Machines compare two numbers:
//
//   - releaseCounter goes up with every release. A device takes none below its
//     floor, and at its floor only the very package that it had. One update may raise
//     it by at most MaxCounterStep: else one wrong or forged release would put all
//     later ones below the floor.
//   - securityEpoch goes up when the releases before must never run again. It is
//     what hardware counters hold, which have few steps.
//
// The floors are kept outside of the slots (package trust). They rise after a
// commit, and only as far as the version in the other slot satisfies them: a floor
// above it would cut off the way back. The vendor's root can set lowest values of
// its own for everything that is installed from then on, and take single
// packages back by their digest.
//
// # Time
//
// Expiry protects against freezing only: an attacker who keeps newer releases away
// can do so no longer than an older one is valid. It needs a time that the attacker
// does not choose, and a camera has none: its clock starts in 1970 when a battery
// is empty, and NTP is anybody's. So everything is judged by secure time,
//
//	T = max(build of the software, stored T, the fleet's word, dates of releases) + time since then
//
// where the time since then is CLOCK_BOOTTIME's, which nobody can set. The wall
// clock is never asked, and 1970 and 2099 are all the same. T is a lower bound: the
// real time is that or later, and so what has expired by it has expired.
//
// T moves forward by the fleet's freshness key ([ParseFreshness]), at most to the
// expiry of the fleet's root. Where a fleet says what time it is, nothing else does.
// Elsewhere a release that was accepted moves T to its date, which cannot be after
// its root's expiry. So a stolen key can make things expire early, and never last
// longer; a root that takes the key back takes back what it said of the time, too. Under a file of
// keys releases move nothing.
//
// A device without a fleet that gets no releases knows nothing of the time that
// passes while it is off. It cannot notice that it is being frozen, and does not
// claim to.
//
// # Order of the checks
//
// Header and size of the head's files; then, in one function, judge: strict JSON,
// shape of the bundles, chains of roots, enough signatures, strict JSON of the
// statement, format, values, subjects; product, hardware, dates, counters, epoch
// ([Manifest.Allow]); the fleet's order; packages taken back. Then the length of the
// file, headers, padding and end; hash and content of the chunk indexes: [Open] is done.
// Who writes an image hashes each chunk in memory before it is written, and the
// whole on reading back; [Package.CheckAll] does the same without writing, each byte
// read once and hashed twice: in the time of one hash where there are two cores.
// [CheckStream] judges a package that passes once, and says what is said of the file.
//
// Each refusal is an [Error] with its own code and a sentence for the person who
// stands before the device. Errors without a [Code] mean that reading failed.
//
// # When a device learns
//
// Newer roots, the order's number and the date in a package ([Package.Learned]) are
// remembered when its last byte is on disk and was read back, together with the note
// that it is, and not when its head was found right: a package with a good head and a
// damaged image is refused as a whole, and leaves no trace. Nothing is lost by
// waiting. The root comes again with the whole package, and who can damage the
// image could have kept the head away as well.
//
// What the fleet's link brings besides packages (roots, the time) has no image to
// wait for, and is remembered when it was judged. Floors wait longer: they rise after
// the commit, because a version that never starts must not burn the way back. If the
// power fails after the last byte and before the note, the next start judges again
// what lies there: the whole head is kept beside the image ([Package.Stored],
// [Relearn]), all signatures, roots and orders in it. From it a version is also
// verified anew where the trust state was lost, or keys are in a file.
//
// # What it defends against
//
// Foreign, changed, cut and extended packages; packages for other devices;
// old packages, old roots, old orders; two JSON or tar readers that understand one
// file differently; files made to exhaust memory: the head's two copies, three blocks
// of MaxChunk bytes and 48 bytes for each of at most MaxChunks chunks are all that is
// held.
//
// And against keys in the wrong hands:
//
//	stolen                 what can be done with it, until it is rotated out
//	freshness key          old orders and releases are kept alive no longer than before;
//	                       things can be made to expire early
//	order key              choose among the vendor's releases for this hardware, not
//	                       below the floors
//	release key, no fleet  install anything: ask for two signatures, or enrol
//	release key, fleet     nothing without an order
//	one root key of more   nothing
//	enough root keys       everything: the device needs a new first root, by hand
//
// # What it does not do
//
// It keeps nothing: floors, secure time, the newest roots and the newest order are
// its caller's, outside of the slots. [Device] is what they say today. It cannot
// help against who can write those, as root on the device can, unless the boot
// loader checks too and a hardware counter holds the epoch. It does not hide
// what is in a package. A malleable ECDSA signature (s and n-s are both valid) is
// accepted: nothing is ever identified by its signature.
//
// Who replaces the file between Open and reading is caught by the chunk hashes,
// which are in memory.
//
// # Rejected
//
// Signing the whole file (it must be read whole before the first byte is trusted);
// compression around the file (no ranges, and bombs); a tar library for reading (it
// understands far more than is allowed here); the key id of a bundle as a choice of
// key (all trusted keys are tried, a wrong id is refused). TUF's own targets,
// snapshot and timestamp files (four documents where one order says the same, and an
// expired one would block a stick); the wall clock as a second opinion (it is
// wrong in both directions, and the attacker chooses when); X.509 (no thresholds, and
// its expiry needs a clock); a reset of releaseCounter by the root (with a limit on
// the step nobody reaches the end of it).
package verify
