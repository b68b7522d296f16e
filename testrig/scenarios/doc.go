// Package scenarios plays stories with emulated cameras. A story is a text file in the
// manner of testscript: one command a line, and the first that fails ends it. Those of
// this directory come with the rig; anybody can write more.
//
// # Commands
//
//	camera VERSION [KEY=VALUE…]    make a package of the sample camera (1.0 to 6.0)
//	    greenlight=app|never       whether its self-test passes; default app. Or operator:
//	                               it has none, and somebody else says it
//	    fault=KIND after=TIME      what it does so long after it is ready: exit, segv,
//	                               hang, stop-sending, never-ready, grow, fork, spin or reread
//	    memory=MB pids=N cpu=PERCENT  limits of its slot's cgroup; 100 is one core
//	    max-tasks=N                a check of its manifest: no more threads and processes
//	    deadline=TIME              of its trial; default 2m
//	    by=stranger                signed by a key that no device trusts
//	    sensor=DEVICE              a video device that it needs, one version at a time
//	    image=KIND                 of its slot: tree, erofs or squashfs; default tree
//	    system=KIND                its package brings a system as well: good, or its fault
//	    programs=KIND              and Slipstream's own programs: good, or their fault
//	system VERSION [fault=KIND]    make a package of a system: panic, hang or noinit
//	programs VERSION [KEY=VALUE…]  make a package of Slipstream's own programs
//	    fault=KIND                 agent-exits, agent-hangs, forwarder-exits,
//	                               forwarder-hangs or gateway-exits
//	    deadline=TIME              of their trial; default 5m
//	boot                           switch the machine on, and wait for its agent and a picture
//	                               the first time a new camera is resumed that was up already
//	power                          switch it on, and wait for nothing
//	cut-power                      take the power away, now
//	reset                          press the button for it
//	stage VERSION                  put the package there and stage it
//	activate                       begin the trial of what is staged
//	greenlight                     an operator's
//	until OUTCOME VERSION [REASON…]  the history says so, anew: permanent or reverted, for
//	                               any of these reasons; or trial: viewers see it
//	expect REGEXP                  until the console says so, behind what was found last
//	unsaid REGEXP                  it has not said so since then
//	viewer NAME KIND STREAM        join from outside: whep or rtsp-tcp; or panel:
//	                               by WHEP through the panel
//	unharmed NAME…                 the viewer's session has stood since it joined, no frame
//	                               was lost, and pictures come
//	stayed NAME…                   the same but for frames: a sensor that is passed on takes
//	                               no pictures meanwhile
//	saw NAME VERSION…              whose pictures the viewer saw, in this order
//	counted NAME…                  each version that the viewer saw went on from the count of
//	                               pictures that the one before had handed over
//	panel                          start a real panel on this machine
//	enrol                          make the camera a device of its, by a token
//	swarm N                        add N devices that are only simulated
//	cameras N                      boot cameras 1 to N, and enrol each of them
//	rollout VERSION [KEY=VALUE…]   give the package to the panel, and begin to roll it out
//	    canaries=N                 in a first wave of so many devices
//	    at-once=N                  devices that are on trial at a time; default 5
//	    only=FILTER                these devices alone, in the words of the panel's lists
//	rolled-out STATE [KEY=VALUE…]  until the rollout is in a state, such as completed or
//	    done=N failed=N            halted, with so many devices
//	use N                          commands are for this camera from here on; the first one
//	                               is 1, and the next number is a new one
//	slot a|b                       the system slot that runs and is permanent
//	boot-state KEY=VALUE…          what the boot loader's partition says, within a minute:
//	                               permanent, trial and bootable
//	damage SLOT                    overwrite the beginning of a system slot
//	flip SLOT FILE                 change one bit in the middle of a file of a live slot,
//	                               in its erofs image
//	debian                         in place of boot: a machine with Debian and systemd, and
//	                               at first without Slipstream
//	verified                       in place of boot: a machine whose boot loader starts nothing
//	                               but what is signed
//	deb VERSION                    build Slipstream's Debian package, and put it into the
//	                               machine as /root/slipstream_VERSION.deb
//	guest COMMAND…                 run a command in the machine; its output is stdout
//
// A ! before a command says that it must fail. Everything of testscript's own is there
// as well; the condition [watchdog] is that the machine has one in hardware. A new camera
// has camera 1.0, and system 1.0 in both slots. Versions of cameras and systems are told
// apart by their number alone, and made in the order of their releases.
//
// With a vendor's package ([Options].Package) that is staged as version "package", $STREAM
// is its first stream, and the camera comes with an earlier version of it, or with itself.
// Of what has no stamps in its pictures (package camera) viewers measure gaps and lost
// packets, and saw cannot be asked. Scenarios for that begin with package-.
//
// Every command waits for events, for so long as [Options].Patience says: emulation
// is slow, and how slow is the machine's affair.
package scenarios
