// Package trust keeps what a device must not forget: the roots that it has
// followed, its floors, secure time, the newest order of its fleet, and which
// versions it has verified. Package verify says what they are for.
//
// It keeps one promise: what [Store] was told and said yes to, it knows after every
// power cut, and it never knows half of it. If it has forgotten all the same, it
// says so, and begins with what the factory and the hardware tell, not with nothing.
//
// # On disk
//
// Two copies of one document, state.0 and state.1, each as
//
//	offset 0   8 bytes  "SLIPTRS\n"
//	       8   4        format, big endian: 1
//	      12   4        length of the JSON
//	      16   4        CRC-32C of the bytes 8 to 16 and of the JSON
//	      20   …        the JSON, to the end of the file
//
// A change is written to the older copy first: as a new file, synced, renamed over
// it, with the directory synced after. That is the instant at which it holds. Then the
// other copy is brought to the same generation, so that a copy lost later to a bad
// block takes nothing with it. Older agents read what newer ones write: members are
// only ever added at the document's top, and who does not know one keeps it.
//
// # What is lost when copies are
//
// One copy: nothing; the next change repairs it. Both: the floors fall back to the
// security epoch of the hardware's [Counter] and to what the vendor's root asks for
// ([verify.Terms]), roots to the factory's, the fleet to the configuration's, secure
// time to the build's. The agent then says what its active record knows of the
// versions in the slots, so that none of them goes dark, and what the head of a
// package that was staged and not yet started brings. A state that is not there
// at all is a new device's, and looks the same; only a counter can tell.
//
// # What it does not believe
//
// The checksum finds damage, not malice. Roots are proved again at every start from
// the factory's on, so that who can write the disk can take roots away and not add
// any. Who can write floors and time can lower them: that is what [Counter] is
// for, and it holds the security epoch only, because fuses have few steps. It is
// advanced last, after the floors are on disk, and read first.
//
// # What it does not do
//
// It has no lock: its caller holds the device's. It logs nothing. It asks no wall
// clock, and knows nothing of the time that passed while the device was off.
//
// Rejected: a database (this must be readable by every agent ever shipped, and by a
// person with a hex editor); one file per fact (two of them could be of different
// times); a signature over the state by a key on the same disk (whoever can write
// the one can read the other); raising floors at staging (a version that never
// starts would have burnt the way back).
package trust
