package verify

// Limits of a package. Every length in it is checked against one of these
// before anything is read or allocated by it.
const (
	MaxBundle    = 1 << 20   // bytes of manifest.sigstore.json
	MaxHead      = 4 << 20   // bytes of everything before the first image
	MaxImages    = 16        // images in one package
	MaxImageName = 28        // bytes; leaves room for ".patch." and a digest in ustar's 100
	MaxImageSize = 4 << 30   // bytes of one image
	MaxChunk     = 256 << 10 // bytes of one chunk
	MaxChunks    = 65536     // chunks of one image

	MaxJSONDepth    = 16
	MaxJSONInteger  = 1 << 53 // beyond it other JSON readers lose digits
	MaxJSONDecimals = 6       // digits behind a point

	MaxName       = 64 // bytes of a product, hardware or version name
	MaxStream     = 32 // bytes of a stream's or an invariant's name
	MaxHardware   = 64 // hardware names in one package
	MaxStreams    = 8
	MaxInvariants = 16      // of one stream
	MaxArgs       = 64      // words of app.exec
	MaxArgBytes   = 8 << 10 // of all words together
	MaxNotes      = 4 << 10 // bytes
	MaxSchemas    = 16      // of an app's state
	MaxListen     = 8       // sockets of an app
	MaxChecks     = 16      // of an app
	MaxPath       = 512     // bytes of a path or an address of a check

	MinPicture = 16   // pixels, width and height
	MaxPicture = 8192 // pixels

	// MaxCounterStep is how far one update may move a device's releaseCounter.
	// Without it one wrong release would put every later one below the floor.
	MaxCounterStep = 10_000

	MaxSignatures = 8  // bundles over one statement
	MaxTrust      = 32 // members of a package below trust/

	MaxTrustFile = 64 << 10 // bytes of a file of trusted keys, or of a root
	MaxTrustKeys = 16       // keys of a file, or of a root
	MaxRevoked   = 500      // digests that a root takes back
	MaxRootSteps = 1024     // roots that may follow one after another at once

	MaxOrderDevices = 8192 // devices named by one order
)

// Limits of the times in an app's contract, in milliseconds.
const (
	minTimeoutMS  = 50
	maxTimeoutMS  = 10 * 60 * 1000
	maxDeadlineMS = 24 * 60 * 60 * 1000
	maxFallbackMS = 24 * 60 * 60 * 1000
	minStallMS    = 20
	maxStallMS    = 60 * 1000
	maxRestarts   = 100

	maxDataMB        = 4096
	maxMemoryMB      = 64 << 10
	maxPids          = 32 << 10
	maxCPUPercent    = 6400
	minCheckMS       = 100
	maxCheckFailures = 100
	minWindowMS      = 1000
	maxWindowMS      = 60 * 1000
)
