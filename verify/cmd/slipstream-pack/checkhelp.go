package main

import "github.com/spf13/cobra"

// checkCommand is a page of the help and does nothing.
func checkCommand() *cobra.Command {
	return &cobra.Command{Use: "check", Short: "How to check a package by hand, without this program", Long: checkHelp + checkScript}
}

const checkHelp = `A package can be checked with tar, openssl, jq and sha256sum alone, in a POSIX shell.
Put it beside the public keys of those who may sign it, and write their names
behind keys=, and behind need= how many of them must have. A vendor's root says
both; its release keys are had of it by

  for id in $(jq -r '.signed.roles.targets.keyids[]' 1.root.json); do
    jq -r --arg id $id '.signed.keys[$id].keyval.public' 1.root.json > $id.pub
  done

and their number by jq .signed.roles.targets.threshold 1.root.json. Then run the lines
below. Whatever is wrong ends them. The package is good if they come to their end:
the last that they print is its digest.

They do not check signatures without a key, nor whether a certain device takes the
package; slipstream-pack verify does.

`

// checkScript is what the documentation of package verify shows.
const checkScript = `set -eu
package=x.slip keys='key.pub' need=1

# The head is the first file; further signatures follow it. Out of the first come the
# signed bytes. DSSE signs its version, their type and them, each with its length.
tar -tf "$package" | grep -x -e 'manifest[.]sigstore[.]json' -e 'manifest[.][2-8][.]sigstore[.]json' > heads
tar -xf "$package" $(cat heads)
jq -r .dsseEnvelope.payload manifest.sigstore.json | base64 -d > statement.json
type=application/vnd.in-toto+json
{ printf 'DSSEv1 %d %s %d ' ${#type} "$type" $(wc -c < statement.json); cat statement.json; } > pae

# Who has signed them. A key counts once, however many files it is in or has signed.
: > signers
for head in $(cat heads); do
	jq -r .dsseEnvelope.payload "$head" | base64 -d | cmp - statement.json
	jq -r '.dsseEnvelope.signatures[0].sig' "$head" | base64 -d > sig
	for key in $keys; do
		if openssl dgst -sha256 -verify "$key" -signature sig pae > /dev/null 2>&1; then
			echo "$key has signed it"
			openssl pkey -pubin -in "$key" -outform DER | sha256sum >> signers
		fi
	done
done
test $(sort -u signers | wc -l) -ge $need

# From here on the statement can be believed. It must be a release, and its
# subjects must be the files behind the head: these names, in this order.
test "$(jq -r .predicateType statement.json)" = urn:slipstream:release:v1
jq -r '.subject[].name' statement.json > names
jq -r '.predicate.images[] | .name + ".chunks", .name' statement.json | cmp - names
tar -tf "$package" | grep -v -x -e 'manifest[.2-9]*[.]sigstore[.]json' -e 'trust/.*' | cmp - names

# Their hashes, as the statement gives them.
tar -xf "$package"
jq -r '.subject[] | .digest.sha256 + "  " + .name' statement.json | sha256sum --strict -c

# The package's digest, by which devices and people name it.
sha256sum < statement.json
`
