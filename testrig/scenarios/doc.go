// Package scenarios plays stories with emulated cameras. A story is a text file in the
// manner of testscript: one command a line, and the first that fails ends it. Those of
// this directory come with the rig; anybody can write more.
//
// # Commands
//
//	camera VERSION [KEY=VALUE…]    make a package of the sample camera (1.0 to 6.0)
//	    greenlight=app|never       whether its self-test passes; default app
//	    fault=KIND after=TIME      what it does so long after it is ready: exit, segv,
//	                               hang, stop-sending, never-ready or grow
//	    deadline=TIME              of its trial; default 2m
//	system VERSION [fault=KIND]    make a package of a system: panic, hang or noinit
//	boot                           switch the machine on, and wait for its agent and a picture
//	power                          switch it on, and wait for nothing
//	cut-power                      take the power away, now
//	reset                          press the button for it
//	stage VERSION                  put the package there and stage it
//	activate                       begin the trial of what is staged
//	greenlight                     an operator's
//	until OUTCOME VERSION [REASON…]  the history says so: permanent or reverted, for
//	                               any of these reasons
//	expect REGEXP                  until the console says so, behind what was found last
//	viewer NAME KIND STREAM        join from outside: whep or rtsp-tcp
//	unharmed NAME…                 the viewer's session has stood since it joined, no frame
//	                               was lost, and pictures come
//	saw NAME VERSION…              whose pictures the viewer saw, in this order
//	slot a|b                       the system slot that runs and is permanent
//	boot-state KEY=VALUE…          what the boot loader's partition says: permanent, trial
//	                               and bootable
//	damage SLOT                    overwrite the beginning of a system slot
//	guest COMMAND…                 run a command in the machine; its output is stdout
//
// stage, activate, greenlight, guest, unharmed and saw may have a ! before them: then they must
// fail. Everything of testscript's own is there as well. A new camera has camera 1.0 and
// system 1.0 in both slots. Versions of cameras and systems are told apart by their
// number alone.
//
// Every command waits for events, for so long as [Options].Patience says: emulation
// is slow, and how slow is the machine's affair.
package scenarios
