package main

// buildHelp describes every key of a manifest; a test compares it with the
// manifest's fields and with the defaults.
const buildHelp = `Build and sign a package from a directory and a manifest template, and write it
as PRODUCT-VERSION.slip into --out. The same directory, template and time give
the same package digest. The time is --issued-at, or the template's issuedAt, or
SOURCE_DATE_EPOCH, or now.

Instead of a directory, or besides it, a package can have images (--image): PATH,
or CLASS:KIND:PATH, where CLASS is live (the app's slot), system, or runtime
(Slipstream's own programs, as a tree: --image runtime:tree:DIR), and KIND
is squashfs, erofs or disk for a file as it is flashed. A directory becomes a file
system by mksquashfs or mkfs.erofs: --image live:squashfs:app. Devices say what
they can run: those whose kernel cannot mount file systems take trees only.
All images of a package have one trial: all become permanent, or none.

A file system gets a hash tree behind it, with which the kernel's dm-verity checks
every block when it is read; its root hash is signed. Devices without dm-verity
read the whole image before they start what is in it. --no-verity leaves the tree
out. To look at it with other tools, OFFSET being hashOffset less 4096:
veritysetup verify --hash-offset OFFSET IMAGE IMAGE ROOTHASH

Several --key sign at once. Where keys lie on several machines, or another tool
signs, build with --unsigned, then see sign and attach.

A complete template (manifest.json):

` + buildExample + `
KEYS OF THE TEMPLATE (- must be given)
  key               default   meaning
  product           -         the device's product, by the letter
  hardware          -         list of the device's hardware names it is for
  version           -         semantic version, for people
  releaseCounter    -         counts releases, not dates: devices refuse a lower
                              one, and steps of more than 10000
  minFromCounter    0         a device must have this release or a later one
  securityEpoch     0         counted up when the releases before must never run
                              again: devices refuse a lower one
  issuedAt          now       see above
  expires           none      not to be installed after it, by a device's secure
                              time
  notes             none      text that people see
  requires          none      system, runtime: the least releaseCounters of what must
                              be permanent there, unless this package brings it
  trial             none      of a package without a live image, in place of app:
                              greenlight (operator or auto), deadlineMs, soakMs
  format            1         of the manifest itself
  app.exec          -         program and arguments; a program without a leading
                              slash is taken from --dir
  app.streams       -         list of streams that the app publishes, each with
    name            -           lower-case letters and digits
    codec           h264        pictures: h264, h265, mjpeg; sound: opus, pcmu,
                                pcma, aac; browsers play h264, opus, pcmu, pcma,
                                and h265 where they offer it; RTSP viewers all
    width, height   -           pixels; not of sound
    profile         none        H.264 profile-level-id, six hex digits
    stallMs         0           longest silence before a trial is reverted;
                                0: the device's own limit
    events          false       true: frames come on events only, there is no
                                stall limit
    audio           none        another stream of this template, whose sound the
                                viewers of this one get with it
    invariants      none        list of what must hold during a trial, each with
      name            -           lower-case letters and digits
      measure         -           frame-rate (a second), key-interval (longest, ms),
                                  gap (longest between frames, ms), bitrate (bit/s),
                                  picture-size (pixels), drift (of capture times
                                  against arrival, ms)
      against         -           permanent: the value is divided by what the
                                  version before shows in the same seconds (drift:
                                  less its drift), so that 1 is the same;
                                  nothing: taken as it is
      min, max        none        bounds, one or both of them
      windowMs        3000        judged over so long
      severity        required    required: the trial is reverted when it is
                                  broken; wanted: it is only reported
  app.breaks        none      streams of the version before that this one has no
                              more, or in another codec, or beyond their declared
                              profile or size. Without it such a package is
                              refused; with it viewers who cannot follow are
                              closed when they are switched
  app.publishRtsp   false     true: the app publishes by RTSP, to the address in
                              $SLIPSTREAM_PUBLISH_RTSP (ffmpeg, GStreamer);
                              false: to the socket in $SLIPSTREAM_PUBLISH
  app.greenlight    app       who lets a trial become permanent: app (it makes the
                              file $SLIPSTREAM_GREENLIGHT), operator (a person),
                              auto (the agent, after the soak)
  app.deadlineMs    60000     a trial without a greenlight ends so long after its
                              start, with the version before
  app.soakMs        2000      how long it has to carry the streams before it
                              becomes permanent; at least the longest window of a
                              required invariant, and at most half of deadlineMs,
                              by default
  app.startTimeoutMs  10000   until its pictures are shown; at most deadlineMs by default
  app.stopTimeoutMs   3000    between SIGTERM and SIGKILL
  app.watchdogMs      0       longest time between two WATCHDOG=1 of the app;
                              0: no watchdog
  app.restartMax      3       a permanent app that ends is started again, at most
  app.restartWindowMs 60000   so often in this time; a window alone: never
  app.fallbackForMs   a day   how long after it became permanent a version that
                              still ends is left for the one before; 0: never
  app.overlap         full    during a trial the version before keeps running
                              (full), is frozen once the new one shows its
                              pictures (frozen: less CPU; a revert takes up to a
                              key frame), or is stopped before the new one starts
                              (none: memory for one; viewers wait meanwhile)
  app.dataMaxMB     0         largest data directory that a trial is given a copy
                              of; 0: 64
  app.state         none      schema: of the state that this version hands over;
                              accepts: list of schemas that it takes besides
  app.listen        none      list of sockets that the agent opens for the app, by
                              LISTEN_FDS: name, network (tcp, udp), address
  app.limits        none      of the slot's cgroup: memoryMB, pids, cpuPercent (100
                              is one core)
  app.checks        none      list of what the agent judges during a trial, each with
                              name, kind and, by kind: process (measure: memory,
                              growth, files, tasks, cpu, restarts; max), exec (exec),
                              http (url of this device), file (path below the data,
                              maxAgeMs), link; and for all everyMs (1000), timeoutMs
                              (1000), failures in a row (3), severity (required)`

const buildExample = `  {
    "product": "gatecam",
    "hardware": ["cam-a1"],
    "version": "2.0.0",
    "releaseCounter": 2,
    "notes": "A sharper picture.",
    "app": {
      "exec": ["bin/camera", "--quiet"],
      "publishRtsp": true,
      "streams": [{"name": "main", "codec": "h264", "width": 1280, "height": 720}],
      "greenlight": "app",
      "deadlineMs": 60000,
      "soakMs": 2000,
      "startTimeoutMs": 10000
    }
  }
`
