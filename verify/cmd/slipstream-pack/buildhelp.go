package main

// buildHelp describes every key of a manifest; a test compares it with the
// manifest's fields and with the defaults.
const buildHelp = `Build and sign a package from a directory and a manifest template, and write it
as PRODUCT-VERSION.slip into --out. The same directory, template and time give
the same package digest. The time is --issued-at, or the template's issuedAt, or
SOURCE_DATE_EPOCH, or now.

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
  securityEpoch     0         signed, not yet compared with anything
  issuedAt          now       see above
  expires           none      signed, not yet compared with anything
  notes             none      text that people see
  format            1         of the manifest itself
  app.exec          -         program and arguments; a program without a leading
                              slash is taken from --dir
  app.streams       -         list of streams that the app publishes, each with
    name            -           lower-case letters and digits
    codec           h264        nothing else yet
    width, height   -           pixels
    profile         none        H.264 profile-level-id, six hex digits
    stallMs         0           longest silence before a trial is reverted;
                                0: the device's own limit
  app.publishRtsp   false     true: the app publishes by RTSP, to the address in
                              $SLIPSTREAM_PUBLISH_RTSP (ffmpeg, GStreamer);
                              false: to the socket in $SLIPSTREAM_PUBLISH
  app.greenlight    app       who lets a trial become permanent: app (it makes the
                              file $SLIPSTREAM_GREENLIGHT), operator (a person),
                              auto (the agent, after the soak)
  app.deadlineMs    60000     a trial without a greenlight ends so long after its
                              start, with the version before
  app.soakMs        2000      how long it has to carry the streams before it
                              becomes permanent; at most half of deadlineMs by
                              default
  app.startTimeoutMs  10000   until its pictures are shown; at most deadlineMs by default
  app.stopTimeoutMs   3000    between SIGTERM and SIGKILL
  app.watchdogMs      0       longest time between two WATCHDOG=1 of the app;
                              0: no watchdog
  app.restartMax      3       a permanent app that ends is started again, at most
  app.restartWindowMs 60000   so often in this time; a window alone: never
  app.overlap         full    both versions run during a trial; nothing else yet`

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
