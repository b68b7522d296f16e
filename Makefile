# Every target does its own set-up. Binaries and reports go to build/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export CGO_ENABLED := 0

FUZZTIME ?= 10s
LINT_VERSION := v2.15.0
LINT := build/tools/$(LINT_VERSION)/golangci-lint
TESTSUM_VERSION := v1.13.0
TESTSUM := build/tools/gotestsum-$(TESTSUM_VERSION)/gotestsum
COSIGN_VERSION := v3.1.3
COSIGN := build/tools/cosign-$(COSIGN_VERSION)/cosign
# What the tests work with beside Go.
TOOLS := gcc g++ libc6-dev ffmpeg chromium openssl jq tmux fonts-dejavu-core iproute2 nftables erofs-utils squashfs-tools cryptsetup-bin e2fsprogs mount \
	etcd-server pebble libubootenv-tool u-boot-tools device-tree-compiler u-boot-qemu qemu-system-arm qemu-utils fdisk busybox systemd python3 dpkg \
	$(addprefix gstreamer1.0-,tools plugins-base plugins-good plugins-bad plugins-ugly rtsp libav)
COMMANDS := $(wildcard */cmd/* testrig/camera/cmd/*)

.PHONY: build test test-arm race lint fuzz interop powercut size bench bench-slots bench-verify bench-stream bench-fleet soak rig rig-ci rig-powercut demo clips deb test-ui test-fleet

build:
	@mkdir -p build/bin
	go build -trimpath -o build/bin/ $(addprefix ./,$(COMMANDS))

# Where a few tests fail, they are run once more, alone: players and processes of other
# people share two cores with hundreds of tests here. Whoever fails again has failed; what
# passed only then is named at the end, with what it said first above.
test: $(TESTSUM)
	@.ci/need $(TOOLS)
	@rm -f build/unsteady.txt
	$(TESTSUM) --format pkgname-and-test-fails --no-color --rerun-fails=1 --rerun-fails-max-failures=9 --rerun-fails-run-root-test \
		--rerun-fails-report=build/unsteady.txt --packages=./... -- -timeout 8m
	@if [ -s build/unsteady.txt ]; then echo "unsteady, and to be mended:"; cat build/unsteady.txt; fi
	go test -timeout 8m -tags keyless -run Keyless ./verify
	$(MAKE) test-arm
	go test -timeout 8m -tags kms_hashivault -run KMS ./verify/cmd/slipstream-pack

# What judges packages and what writes them, on the word sizes of cameras; one place of 61
# is damaged. Of package slots is left out what mounts images or asks whether it could, and
# the disk that loses power, which is a FUSE server (an emulator of programs passes on
# neither), and suites for every kind of image, which run for minutes in one.
BEYOND_EMULATION := Mount(|OfAPartition|OfAGuardedImage|RefusesWhat.*|ReplacesWhat.*)$$|MountedElsewhere|WhatIsMounted|InUseIsLeft|RunningSlot|Unprivileged|Capabilities|PowerCut(|OfExt4)$$|OfAnyKind|TestSets|TestBench|InUseForAnInstant|FilesAreNoRoom

test-arm:
	@.ci/need openssl jq erofs-utils squashfs-tools qemu-user-static
	for arch in arm:arm arm64:aarch64; do \
		GOARM=7 GOARCH=$${arch%:*} go test -short -timeout 8m -exec qemu-$${arch#*:}-static -skip '$(BEYOND_EMULATION)' ./verify ./verify/trust ./slots ./slots/fetch; \
	done

# The panel's pages: that what is committed is what their sources make, that their types
# hold, each page of a panel with a fleet (axe, phones, no motion), the way from nothing to
# one device, a page cut off for half a minute, and the page of a hundred thousand devices
# with its figures. With npm's packages, which nothing else needs. Pictures of all pages are
# in build/pages then.
test-ui:
	@.ci/need chromium fonts-dejavu-core nodejs npm
	@mkdir -p build/pages
	cd adminpanel/ui && npm ci --no-audit --no-fund
	go test -timeout 8m -count 1 -tags npm ./adminpanel/ui/...
	SLIPSTREAM_SCREENSHOTS=$(abspath build/pages) go test -timeout 20m -count 1 -tags npm -v -run '^Test(EveryPage|TheFirstDevice|APageIsCutOff|ThePageOfALargeFleet)$$' ./adminpanel \
		-args -pages.cut 30s -pages.devices 100000

race:
	@.ci/need $(TOOLS)
	CGO_ENABLED=1 go test -race -timeout 20m ./...

lint: $(LINT)
	$(LINT) run ./...

$(LINT):
	GOBIN=$(abspath $(@D)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

$(TESTSUM):
	GOBIN=$(abspath $(@D)) go install gotest.tools/gotestsum@$(TESTSUM_VERSION)

# Every fuzz target for FUZZTIME. go test lists a package's targets before its name.
fuzz:
	go test -list '^Fuzz' ./... | awk '/^Fuzz/ {t[++n] = $$1} /^ok/ {for (i = 1; i <= n; i++) print $$2, t[i]; n = 0}' | \
	while read -r package target; do go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x "$$package" </dev/null; done

# Packages and other people's tools, for real and without a network: cosign is built
# outside of go.mod (about five minutes, once), for it brings half of the clouds along.
interop: $(COSIGN)
	@.ci/need openssl jq
	go test -count 1 -v -run 'ByHand|Cosign|Swapped|Documented|Tar|OpenSSL' ./verify -cosign $(abspath $(COSIGN))
	go test -count 1 -v -tags kms -run KMS ./verify/cmd/slipstream-pack

$(COSIGN):
	GOBIN=$(abspath $(@D)) go install github.com/sigstore/cosign/v3/cmd/cosign@$(COSIGN_VERSION)

# The power is cut at every instant of whole updates, and far more of the states are
# tried that it may leave than in the tests: each log says of how many a cut at most,
# chosen by SEED where there are more. Half an hour on two cores that have nothing else
# to do. The last line counts, and a bad state fails.
powercut: SEED ?= $(shell date +%s)
powercut: POWERCUT = -timeout 2h -count 1 -v -args -powercut.full -powercut.seed $(SEED)
powercut:
	@mkdir -p build
	@failed=0; \
	{ go test -run /forgets ./slots/boot $(POWERCUT) || failed=1; \
	  go test -run PowerCut ./slots ./verify/trust ./agent $(POWERCUT) || failed=1; exit $$failed; } | tee build/powercut.log || failed=1; \
	awk -F'[ =]' '/power cut: seed/ {for (i = 1; i < NF; i++) n[$$i] += $$(i + 1)} END {printf "cuts=%d states=%d restarts=%d bad=%d\n", n["cuts"], n["states"], n["restarts"], n["bad"]}' build/powercut.log; \
	exit $$failed

# Debian packages for devices and for the panel, in build/deb; the same commit gives the
# same bytes.
deb:
	@.ci/need dpkg
	agent/dist/deb/build build/deb amd64 arm64 armhf
	adminpanel/dist/deb/build build/deb amd64 arm64

# What the device's programs weigh, and what verifying packages adds.
size:
	.ci/size

bench: build
	build/bin/slipstream-rig bench
	build/bin/slipstream-rig bench --agent
	@echo "Other figures: make bench-slots, bench-verify, bench-stream, bench-fleet"

# Staging images, beside the least that has to be done and beside rauc, and what a
# security patch of Debian's costs: some minutes, on two cores and a disk that have
# nothing else to do.
bench-slots:
	@.ci/need rauc dbus-daemon openssl squashfs-tools
	@mkdir -p build
	go test -timeout 30m -count 1 -run '^TestBench$$' ./slots -args -bench.slots $(abspath build/bench-slots.json) -bench.dir $(abspath build)

# Reading packages, beside openssl in the same run: half a minute, on two cores that
# have nothing else to do. The figures are in build/bench-verify.json too.
bench-verify:
	@.ci/need openssl jq
	@mkdir -p build
	go test -run '^$$' -bench Verify -benchtime 20x ./verify | tee build/bench-verify.txt
	jq -R -n '[inputs | capture("^Benchmark(?<name>\\S+)-\\d+\\s+\\d+\\s+(?<rest>.*)") | {(.name): ([.rest | scan("(\\S+) (\\S+)") | {(.[1]): .[0] | tonumber}] | add)}] | add' \
		<build/bench-verify.txt >build/bench-verify.json

# About half an hour; with MEDIAMTX=/path/to/binary that is measured in turns with ours.
bench-stream: build
	@.ci/need ffmpeg
	build/bin/slipstream-rig bench --stream

# A panel with a large fleet: what one click takes, what linked devices cost, what people
# wait for, also in Chromium, and how fast stores are. Seven minutes, on two cores that have nothing else to do.
bench-fleet:
	@.ci/need etcd-server iproute2 chromium jq
	@mkdir -p build
	go test -timeout 30m -count 1 -run '^TestBench$$' -v ./adminpanel/large -args -bench.fleet $(abspath build/bench-fleet.json)
	go test -run '^$$' -bench Fleet -benchtime 5x ./adminpanel/rollout | tee build/bench-rollout.txt
	awk '/^BenchmarkFleet/ {for (i = 3; i < NF; i += 2) print $$(i + 1), $$i}' build/bench-rollout.txt | \
		jq -R -n --slurpfile b build/bench-fleet.json '$$b[0] + ([inputs | split(" ") | {("rollout.100000-devices." + .[0]): .[1] | tonumber}] | add)' >build/bench-fleet.json.new
	mv build/bench-fleet.json.new build/bench-fleet.json

# The panel's tests with fleets that take minutes to come: FLEET links through crash and
# drain, and a rollout to 1 500 devices with the panel killed on the way.
test-fleet: FLEET ?= 10000
test-fleet:
	go test -timeout 40m -count 1 -run '^TestAFleet$$' -v ./adminpanel/hub -args -fleet.devices $(FLEET)
	go test -timeout 20m -count 1 -run '^TestARollout$$' -v ./adminpanel/large -args -fleet.devices 1500

# The stream's tests at full length.
soak: build
	@.ci/need $(TOOLS)
	SLIPSTREAM_SOAK=1 go test -timeout 3h -count 1 -p 1 -v ./testrig/{relay,stand,clients,faults} ./verify
	go test -timeout 1h -run AgentAndForwarderAgree ./stream/core -model.faults=2
	go test -timeout 1h -v -run EveryStateKeepsThePromises ./agent -explore.states=0
	go test -timeout 2h -v -p 1 -parallel 1 -run EveryStateKeepsThePromises ./agent -explore.faults=2 -explore.states=400000

# Cameras that are emulated whole play the scenarios of testrig/scenarios; SCENARIOS and
# ARCH choose. Kernels are fetched once. About a minute a scenario, on two cores that
# have nothing else to do; the last lines say how long it took, and count. What viewers saw
# is in build/rig.html.
rig:
	@.ci/need qemu-system-arm qemu-utils u-boot-qemu u-boot-tools device-tree-compiler e2fsprogs erofs-utils fdisk dpkg ffmpeg
	@mkdir -p build/bin
	go build -trimpath -o build/bin/ ./testrig/cmd/slipstream-rig
	@build/bin/slipstream-rig run $(SCENARIOS) $(if $(ARCH),--arch $(ARCH)) --report build/rig.json,build/rig.html

# Some of them that stand for all, on both architectures: what CI has time for.
rig-ci:
	$(MAKE) rig SCENARIOS="live-good live-crash system-good system-panic"

# The power of an emulated camera is cut at each instant of a recorded life, and BOOTS
# times for real, with a disk that forgets; a build that lacks a flush (FAULTS) must be
# found out. A quarter of an hour on two cores that have nothing else to do. Needs root.
rig-powercut: BOOTS ?= 20
rig-powercut: SEED ?= $(shell date +%s)
rig-powercut: FAULTS ?= slot
rig-powercut:
	@.ci/need qemu-system-arm qemu-utils u-boot-qemu u-boot-tools device-tree-compiler e2fsprogs fdisk dpkg
	@mkdir -p build/bin
	go build -trimpath -o build/bin/ ./testrig/cmd/slipstream-rig
	@build/bin/slipstream-rig powercut --boots $(BOOTS) --seed $(SEED) --faults "$(FAULTS)"

# The sample camera's films, which are committed.
clips:
	@.ci/need ffmpeg fonts-dejavu-core
	testrig/camera/clips.sh

demo: build
	build/bin/slipstream-rig demo $(if $(ONCE),--once)
