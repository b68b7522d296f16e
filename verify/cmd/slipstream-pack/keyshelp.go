package main

import "github.com/spf13/cobra"

// keysCommand is a page of the help and does nothing.
func keysCommand() *cobra.Command {
	return &cobra.Command{Use: "keys", Short: "What a vendor operates: which keys, where, who, and when", Long: keysHelp}
}

const keysHelp = `WHAT A VENDOR OPERATES

  key          where                       how many      if lost     if stolen
  vendor root  offline: smart cards or     3, 2 must     one: rotate one: rotate
               sticks, in three safes      sign          two: below  two: below
  release      KMS or HSM of the build     1, or 2 of 2  rotate      below
  fleet root   offline, at the operator's  2, 1 signs    one: rotate below
  order        KMS of the panel            1             rotate      rotate
  time         on the panel                1             rotate      rotate

"Rotate" is always the same: root rotate, remove-key, add-key, sign, publish. A
device that comes back after years follows the whole chain of roots: put them
all into every package, for ever (attach --root; a package has room for 32).

ONCE
  On three machines without a network, each with a safe of its own:
    slipstream-pack keygen root-1      (root-2, root-3; or keys in smart cards)
  On one of them, with all three .pub files and the release key's:
    slipstream-pack root init vendor --root-key root-1.pub \
      --root-key root-2.pub --root-key root-3.pub --release-key release.pub
  On two of them, one after the other, the file carried on a stick:
    slipstream-pack root sign --key root-1.key 1.root.json
  It says what is missing until it says "complete". 1.root.json goes into every
  device where it is made (trust = in slipstream.toml), and into a safe on
  paper. The operator of a fleet does the same with two keys of which one signs:
    slipstream-pack root init fleet --root-key a.pub --root-key b.pub \
      --threshold root=1 --order-key panel.pub --time-key clock.pub
  A person at each device enrols it: slipstream enroll fleet.1.root.json.

EACH RELEASE
  Build, sign where the key is, check as a device would, publish:
    slipstream-pack build --unsigned --dir app --manifest manifest.json
    slipstream-pack sign --key NAME://KEY x.slip    (each key that must sign)
    slipstream-pack attach --root 2.root.json x.slip
    slipstream-pack verify --trust 1.root.json --product P --hardware H x.slip
  NAME://KEY is a key in a KMS; slipstream-pack sign tells which are known.
  What only openssl can ask signs what slipstream-pack pae prints, and its
  signature goes in by attach --signature. Who does not want to believe this
  program checks by hand, as slipstream-pack check prints it.
  The fleet's operator orders it:
    slipstream-pack order --key K --package x.slip --sequence N --hardware H
  For devices without a link it goes in by attach --order, and the time comes by
    slipstream-pack time --key time.key --root fleet.1.root.json

THE CALENDAR
  each week     look whether the panel still says what time it is
  each quarter  build a release and install it from a stick on a device that
                has 1.root.json only: it shows that the chain is whole
  each year     the ceremony: three people, three machines, three safes opened.
                Each root key signs something (a key that is not used is lost
                unnoticed): root rotate moves the expiry on, root sign twice,
                root show. Keys of people who left are removed now at the latest
  expiry - 2 y  a root lasts 10 years, a fleet's 3. The next one must be out two
                years before (one, of a fleet's), so that every device has met
                it. An expired root takes no package, yet still lets devices
                follow to the next one
  never         root keys on a machine with a network; one stick in two safes;
                a release key in a file of the build; 1-of-1 roots

WHEN SOMETHING HAPPENS
  a root key lost, seen   root rotate; remove-key --role root; add-key --role
                          root; sign with two of the old and two of the new
  the release key lost    root rotate; remove-key, add-key --role release; sign.
                          Installed versions keep running. The next package
                          carries the root, and is signed by the new key
  the release key stolen  the same, and --floor PRODUCT=N with the first good
                          release, --revoke DIGEST of each bad package, and
                          --security-epoch one higher if bad ones were out.
                          Fleets are safe meanwhile: they need an order too
  two root keys lost      no root can follow: devices take what the release key
                          signs until the root expires, and then need hands.
                          This is what the yearly ceremony is against
  an order key stolen     root rotate of the fleet's root, remove-key, add-key
                          --role order: devices forget its orders and their
                          numbers with the key
  the time key stolen     likewise --role time. It could make things expire
                          early, and nothing else
  the fleet's root lost,  a person at each device leaves the fleet (slipstream
  or stolen               leave) and enrols it anew (slipstream enroll); the
                          vendor's signature and the floors stay`
