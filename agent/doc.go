// Package agent decides which version a camera runs.
//
// It keeps one promise: whatever ends at whatever moment (the new version, the
// old one, the forwarder, the agent, the power), viewers get a version that was
// either permanent or is being tried with their way back standing ready. A new
// version becomes permanent only if its greenlight marker was seen in its own
// trial and everything that was asked of it held to the end.
//
// # An update in ten lines
//
//	idle ─stage→ staging ─→ staged ─activate→ starting ─→ trial ─→ holding ─→ committing ─→ settling ─→ idle
//	                                             └──────────┴─────────┴──→ reverting ─→ idle
//
//	staging     the verified package is written into the spare slot, beside what runs.
//	            One whose streams ask more of viewers than the permanent version's
//	            declaration (codec, profile, picture size), or that lacks one, is
//	            refused unless its manifest names them in app.breaks; then the
//	            forwarder closes viewers who cannot follow, and the report counts them
//	starting    the new version's process runs; viewers see the old one, unless it made
//	            room (see How versions overlap). READY=1 arms the forwarder, which
//	            follows the new version once each of its streams has sent a key frame.
//	            All of this must come within the start timeout, which counts from the
//	            start of the process, so that an app without READY=1 (publishRtsp) has
//	            no longer for its first pictures than others
//	trial       viewers see the new version; the soak runs
//	holding     marker and soak are there: the forwarder is asked whether the trial
//	            still stands. It answers "held", "reverted", or "wait" while declared
//	            invariants were not judged or do not hold, and nobody else decides
//	committing  the active record is being replaced: THE COMMIT POINT
//	settling    the forwarder makes the new source its permanent one; then the old
//	            app is asked to stop, or, if the new one's ended meanwhile, goes on
//	            feeding viewers until they see the new one again
//	reverting   viewers go back first; then the new version is ended
//
// The word "permanent" lives in one place, the active record of package slots.
// The journal holds intents, counters and evidence, and may be lost. The
// forwarder holds standing orders, and reverts at the deadline, at the end of
// the app, at a stall, or when the lease of a hold runs out, whether or not an
// agent lives. So silence reverts, wherever it comes from.
//
// # The greenlight rule
//
// A marker is a regular file with one link, owned by the slot's user or root, at
// the path that SLIPSTREAM_GREENLIGHT gave this trial's app. It is latched when
// it is seen, from the start of the process on, and counts once the soak is over
// and the invariants hold. Gone before it was seen, it never was; removed later,
// it changes nothing. Anything else at that path is ignored, with a reason in
// the log. The manifest says who makes it: the app, an operator, or the agent
// itself ("auto").
//
// These invariants always hold: viewers are on the new version, its app said that it
// is ready, and it was not restarted. Those that the manifest declares of its streams
// are judged by the forwarder, which ends the trial when a required one is broken,
// marker or not: a marker with a broken invariant does not commit, and the revert
// says both facts. The checks that it declares of the app are judged by the agent
// (package invariant) from the moment viewers see the new version; the forwarder is
// asked to hold only once every required one was judged and holds. The history keeps
// how all of them stood, also after a commit.
//
// # Who an app is
//
// Where the agent is root and the users exist (apps.user_a and apps.user_b of the
// configuration), each slot's app runs as its own, without capabilities. It reads its slot
// and the system, writes its data, the directory that both versions share and TMPDIR, and
// executes nothing that it could write. Of the state directory it sees nothing else.
// The trial's directory is its own only if the manifest lets it make the marker; its
// publish socket opens to its user alone. A protection that a device does not have is told
// by its status, and the app runs without it. The manifest's limits hold where cgroups of
// version 2 have the controllers; an app that comes to its limit of memory ends its trial
// with the cause "oom". Descriptors that an app stored are given to its next
// run in the same slot, unless it ended before it was ready. The sockets that manifests
// declare stay open from version to version. An app may ask for more time to start or to
// stop, up to its deadline and to five times its stop timeout, and may say that it feeds its
// watchdog more often than its manifest says, never less.
//
// # How versions overlap
//
// The manifest of the new version says how it runs beside the old one during its
// trial. The trial has the same arrows in each way.
//
//	full    the old app keeps running: a revert takes milliseconds
//	frozen  the old app is frozen by its cgroup once viewers see the new version. The
//	        forwarder has had the freezer since the app's start and thaws it before it
//	        brings viewers back, with an agent or without; viewers wait for its next
//	        key frame. The agent thaws it as well whenever the trial ends or the
//	        forwarder does, and before it is stopped. Where no cgroup can be made both
//	        run in full, and the status says why
//	none    the old app makes room: the new version's slot is checked, the old app is
//	        stopped, and only then the new one is started. Sessions are held meanwhile.
//	        On a revert the new app is ended first, then the old version is started as
//	        a new run; the trial is over when viewers see it, or when its start timeout
//	        and some seconds have passed
//
// Whatever ends at whatever moment, the old version runs in the end, and nothing of it
// stays frozen. The history has the gap of each stream.
//
// # Rehearsals
//
// A rehearsal is a trial of the permanent version's own content, which proves that this
// device can swap and come back. The second copy runs out of the permanent version's
// slot, as if it were in the spare one, on a copy of the data of its own; no slot is
// written, and what is staged stays so. It knows its role. When its soak is over, or
// after five seconds of it, it is reverted, and the history says "rehearsed"; whatever
// else ends it is not held against the version. It never comes to the commit point.
//
// # What survives a power cut, at each arrow
//
//	staging → staged        the slot says itself whether it is whole; if not, it is empty
//	staged → starting       the trial id is spent; the next boot reverts it: cause "power"
//	starting → trial        the same
//	trial → holding         the same, with the marker latched: a marker is no commit
//	holding → committing    the same: being held is no commit either
//	committing → settling   the record decides. Not replaced: reverted. Replaced: the
//	                        commit is completed at the next boot
//	settling → idle         the commit is completed
//	reverting → idle        the next boot finishes it, with the cause that was seen
//
// The agent's own death is milder. Its successor finds the same boot id, adopts
// the processes, sends the orders again and asks the forwarder what it missed; a
// trial goes on. It is reverted if the trial's process or the forwarder ended
// meanwhile, and completed if the commit point was passed.
//
// An app runs from its slot's root. Images of file systems are mounted there before
// the start and stay mounted: a restarted agent finds them again, and staging into the
// slot unmounts. Trees are hashed before every start. An image that dm-verity guards is
// not, since every block of it is when it is read; on a kernel without dm-verity it is
// hashed whole before every start, as a tree is.
//
// What was verified when it was started stays on the screen: keys that are missing
// or were rotated since are a matter for the next start, and then for each one
// anew. An adopted app is known by the digest of its package.
//
// A slot that turns out damaged when its version is to be started holds nothing that may
// be started from then on, but keeps its bytes, for the next stage to mend. Its version was
// not found bad, so it needs no force. A stage can be cancelled at any time, by its caller
// or by anybody else, and goes on from there when it is asked for again. A spare slot can
// be cleared; the boot loader, if it is a system's, is told first.
//
// # The system
//
// A package may bring an image for the other system slot, alone or beside its app's.
// It is one trial, with one reboot in it:
//
//	idle ─stage→ staged ─activate→ arming ─→ rebooting ─(reboot)→ starting ─→ trial ─→ … ─→ idle
//	                                   └──────────┴──── reverting ─(reboot back)→ idle
//
//	staging     the boot loader is told first not to start the slot that is written
//	arming      the slot is read once more, then the boot loader is told to try it once
//	rebooting   the device goes down. The next agent finds another boot id: if the new
//	            system runs, the trial goes on; if the old one does, it is reverted
//	starting    of the package's app, beside the permanent one, as in any trial. Without
//	            one the trial begins at once, and its soak when viewers see the permanent
//	            version. The deadline, which began with arming, goes on: what was left of
//	            it when the reboot was asked for counts from the start of the new kernel,
//	            because no clock is sure of the way between
//	committing  one replacement of the active record names system slot and app together.
//	            Then the boot loader is told. It is brought into agreement with the
//	            record again at every start, and if that does not name the system that
//	            runs, the device is started anew for it, once and not again
//	reverting   viewers go back first, then the boot loader's trial is cancelled, then
//	            the device starts the old system: with the app that was permanent there
//
// Where the boot loader has started another system than the permanent one, for good, the
// apps run that were permanent with that one, nothing is installed, and the status says so.
//
// What system a device comes with is known from the first update of one on, or from where
// its image was made ([Provision]): the record names it then, for one slot or for both, and
// packages may require it.
//
// A second start within a trial ends it, whichever system comes up. No reboot is asked
// for that the journal does not know of, so that none is asked for twice; but a trial
// that came up leaves in any case. A hardware watchdog that the configuration names is armed
// before the reboot, fed by the agent's loop and stopped when the trial is over, so that what
// hangs on the way ends as well, where it goes on over a reboot (package watchdog); an agent
// that is ended during the trial leaves it running.
//
// # Slipstream's own programs
//
// Agent, forwarder, gateway and ingest may come as a package too, alone or with what else a
// package brings, where the start program (cmd/slipstream-start) has started the agent. They
// are a tree in one of two slots:
//
//	idle ─stage→ staged ─activate→ arming ─→ renewing ─(exec)→ trial ─→ committing ─→ idle
//	                                  └──────────┴───── reverting ──────┘
//
//	arming      the slot is read once more; then the new forwarder takes over from the one
//	            that runs, which goes on by itself if it is not told of a first frame
//	renewing    the agent asks for one try in the run directory, and becomes the start
//	            program in its own process, which spends the try and becomes the new agent
//	trial       the new agent was reached at its socket, has a forwarder and a gateway that
//	            stays up, and viewers see the permanent version: all of it throughout the soak
//	committing  the active record names the programs, for the system slot that it names
//	reverting   the agent becomes the start program once more, and so the one before; that
//	            has its own forwarder take over, or ends the other one, whose viewers are
//	            kept by what it had stored
//
// Children stay children throughout. An agent on trial that ends, however, is followed by
// the one before, because a try is spent before it is used; one that hangs past its
// deadline is killed by a process of the start program that waits beside it. A forwarder
// that ends during the trial is followed by one of the version before. The gateway is
// started anew by each agent that finds another version's; RTSP over TLS, which ends with
// it, is the one thing that viewers may notice. An ingest stays as it is until its app is
// started again. An agent of programs that the record does not name and that knows of no
// trial of them goes back by itself. If the permanent ones are damaged or keep ending before
// they were reached, the built-in ones run and the status says so; the same version may be
// staged again. What a manifest requires of the programs is compared with those that run.
//
// # Packages of several classes
//
// Whatever a package brings is one trial with one marker and one record, and goes from what
// is needed first to what needs it:
//
//	idle ─→ arming ─→ rebooting ─(reboot)→ arming ─→ renewing ─(exec)→ starting ─→ trial ─→ … ─→ idle
//	        └──── with a system ────┘     └─── with programs ───┘      └─── with an app ───┘
//
// The new system comes up with the programs of before, which have run for long; forwarder
// and agent then become the new ones in it, and the app is tried by those, beside the
// permanent one. So each part is judged by parts that are known, or are proven in the same
// trial: the soak of the app counts only while the new agent is reached and has forwarder
// and gateway. The deadline goes on from arming to the end. The one record names all parts,
// and the agent of the new programs writes it; until then the start program, the boot loader
// and the next agent know of none of them.
//
// The way back is the other way round: viewers first, then the app, and where it had made
// room the one before is started, then agent and forwarder, or at once the old system, which
// brings the programs of before with it. Whoever has to go it can: an agent on trial that
// ends is followed by the one before, which reads the journal and takes back the rest; a
// power cut takes back all of it.
//
// What became permanent together is returned to the versions before together, by a person's
// word or because its app keeps ending. Where the boot loader starts the old system for good
// although the record names another one, that runs with its own app, and with the permanent
// programs, or if those do not come up there, with those built into it.
//
// # State and data
//
// An app hands over its state as a sealed memfd of the name "state", anew on every
// change. The agent holds that very memory, and copies it only for a version that is
// about to start. A trial
// gets copies of the permanent version's state and data in its own slot's place, so
// the active record also says which are the true ones: a commit moves nothing, and a
// revert drops the copies. What is not sealed, or too large, is refused with a word in
// the status, and the state before holds. The state's schema is that of the manifest
// of who stored it; a version that declares state and does not take that schema is
// refused when it is to be activated. Other descriptors that an app stores are given
// to the trial, and to its own next run, as they are. A permanent app that keeps ending
// beyond its restart intensity is started without any of it.
//
// Of all this, and of the sockets that manifests declare, the forwarder keeps a second
// descriptor, which it has before the app is told that it was heard (BARRIER=1). The next
// agent takes them from there before it adopts or starts anything, also for an app that
// has ended meanwhile, and gives them to each forwarder anew. So either may die alone. If
// both die at once, sockets are taken out of the apps that live, an app with a control
// socket stores the rest again, and what else there was is lost, as at a reboot: state is
// memory, and what must outlive the device's power belongs into the data. There was a copy
// of each state in a file, for this case alone, which cost its size in memory.
//
// Each app has a control socket, on which one that listens is told its role and whose
// turn it is to take from a sensor, and to accept connections (package appcontrol). The
// new version's turn comes when it is ready, the old one's again as soon as a revert
// begins or the new process has ended, whatever the journal is doing. All of it follows
// from the state, so an agent that is started anew says the same; while there is none,
// apps go on as they were told last.
//
// # Trust
//
// Whose packages the device takes, and how old they may be, is kept by package
// verify/trust below the state directory. Its anchors, the vendor's root or a file of
// keys, and the fleet's root, are files that the configuration names; they are read
// at every use, so that they may be put there or replaced at any time. What an
// accepted package brought, newer roots and the order's number, is remembered together
// with the slot's version, when that is whole on disk; the floors rise after the
// commit. Both are caught up with at the next start if the agent died in between.
// Under a file of keys every start asks for a signature by one of them. Under a root
// a version that was verified when it was staged starts by its digest, although its
// key may have been rotated out since: what must not be installed any more need not
// make a picture go dark. If the trust state is lost, the active record says what is in
// the slots, and the status says that it was lost.
//
// A person at the device can enrol it in a fleet, make it leave one, and bring newer
// roots and the fleet's word of the time on a stick (control.Keeper). A link cannot ask
// for these: it is a [control.Backend] only. Whoever may open the agent's socket counts
// as such a person: nobody can tell a shell at the device from one far away.
//
// Somebody at the device can also reset it to the version that it came with, which may be
// older than what runs: its package lies where the configuration says, in the system's
// image. Signature, hardware and security epoch count as always, it is tried like any
// other, and the floors stay: lifted for it alone are the release counter and the fleet's
// order, and viewers of streams that it does not have are closed. A system or programs that
// it does not bring stay as they are.
//
// # The permanent version
//
// It is restarted when it ends, when it is not ready in time, when it does not feed
// its watchdog, and when it lives but has lost a stream and not published it again
// within some seconds, also if nobody heard of the loss, because the forwarder died
// with it. A stream that has frames on events only counts as published by a publisher
// that is connected. Its start may find that its slot is damaged. Then the version before
// takes its place, if it is whole and of the same security epoch, with a commit of
// its own ("fallback"); the history says "damaged", and the floor stays where it
// was, but for the damaged version itself, which may be staged again. Apps run in
// their data directory, so that none damages its slot by what it writes beside
// itself.
//
// # The way back
//
// Nothing being on trial, an operator or the panel may ask for the version that was
// permanent before, in the slot class of the newest update. It must be whole, above the floors that
// are kept outside of the slots, of no older security epoch than the present one, for this hardware,
// and take the state that is handed over. It is a trial like any other: it becomes permanent by
// its own greenlight, or the present version stays. Then that one counts as reverted, and
// its release counter stays the floor, so there is no way round in circles, nor down. Viewers of
// streams that the older version does not have, or has otherwise, are closed, as after a
// declared break. With a system its own app comes back, as the record names it,
// and with either the programs that came with it. From the first update of programs the way leads to
// those built into the system, if no update of them has raised the security epoch beyond the system's.
//
// A permanent app that keeps ending comes there by itself. Restarts follow soon, within the
// manifest's intensity; beyond it each half minute and without what was handed over to it;
// and when it still ends, before it has once run for as long as the intensity is about, or a
// minute, the device goes back. It does so if the commit is younger than a day, or than what the
// manifest (app.fallbackForMs) or the configuration says; never if the release raised the epoch:
// to crash an app must not be a way to bring an old one back. Else the system before is
// tried under the same rule, at most once in a day of running, but for attempts that a power cut has
// ended; with a system that becomes permanent an app's ends count anew. Operators who greenlit the older version
// are not asked again. A version that was returned to is not left by itself, one that
// fails in such a trial is not tried again, and one whose trial is cut short by a power cut at most
// three times; the journal knows, and what it has lost does not happen. Ages are kept by the
// monotonic clock, and over starts of the device by what it has run and by the wall clock,
// whichever says more. What keeps the device from going back is in the status.
//
// # The forwarder
//
// It is restarted when it ends, at once if that is rare, and given the descriptors
// that it had stored with the agent, by which it goes on with its viewers; one that
// keeps ending with them is started without. A new forwarder is installed beside the
// running one and replaces it outside of trials, by itself when the agent starts and
// sees another program at its place, or when an operator asks: the running one hands
// everything to its successor and ends. If that fails it goes on, and the status says
// so. A trial that is asked for meanwhile begins afterwards.
//
// # How it is made
//
// [Step] is all of the above as a pure function; testdata tells it as stories.
// Tests walk through all of its states, as far as they say, together with a forwarder, apps,
// boot loader, start program and disk that keep their contracts. The runner around it ([Agent]) takes one event at a time, commits the new state
// to the journal, and only then lets the effects begin. Effects go on in the
// background and come back as events, so nothing slow ever stands between a
// crash and the answer to it. They may be repeated, never skipped. Events name
// the trial, run or attempt that they are about, and late ones change nothing.
//
// # What it defends against
//
// A version that crashes, hangs, closes its streams, never starts, never says a
// word, or says the right one too late. A slot that changed since it was staged:
// signature and content are checked right before every start. A disk that fails in
// the middle of a commit: nobody is told anything before it is certain which record
// holds. A version without a stream that has viewers now. A package below the
// floor, or tried before and reverted, whoever asks for it; force lifts only the
// second. A reverted version is known by its package, and by its image together
// with the contract of its app: a new number does not make it another one, a
// corrected contract does. A forwarder that stops answering: it is restarted, and serves the
// permanent version.
//
// # What it does not do
//
// It does not leave a permanent version that keeps crashing later than a day after its
// commit. If the version before is damaged too, or there
// is none, the status names the way out: the same package, staged again. With
// overlap "none" viewers have no picture while the versions change places. On a machine
// where everything runs as one user it cannot tell who made a marker. The data
// directory of a trial is a copy: what the old version writes into its own meanwhile
// is not in it.
//
// # Rejected
//
// A state machine that acts as it decides: it cannot be cut at each arrow in a
// test. A journal that says what is permanent: it would have to survive what
// databases do not. Telling the forwarder first and writing the record after: a
// power cut between the two would undo what viewers already had for good. Judging
// the deadline in the agent: the forwarder is closer to the viewers and lives
// longer. A boot counter for live slots: a trial with another boot id is over,
// so there is nothing to count.
package agent
