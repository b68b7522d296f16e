package verify_test

import (
	"strings"

	"slipstream/verify"
)

var policies = []malicious{
	{43, "other hardware", verify.CodeWrongHardware, hardware("cam-b1")},
	{44, "empty hardware list", verify.CodeManifest, hardware()},
	{44, "hardware *", verify.CodeManifest, hardware("*")},
	{45, "hardware that begins alike", verify.CodeWrongHardware, hardware("cam-a10")},
	{45, "hardware in capitals", verify.CodeWrongHardware, hardware("CAM-A1")},
	{46, "other product", verify.CodeWrongProduct, func(f *fixture) error {
		return f.changed(func(m *verify.Manifest) { m.Product = "doorcam" })
	}},
	{47, "lower counter", verify.CodeRollback, func(f *fixture) error { return f.floor(8, "") }},
	{48, "same counter, other digest", verify.CodeCounterReused, func(f *fixture) error { return f.floor(7, strings.Repeat("0", 64)) }},
	{49, "greatest counter", verify.CodeCounterJump, func(f *fixture) error {
		f.dev.FloorCounter = 1
		defer func() { f.dev.FloorCounter = 0 }()
		return counter("9007199254740992")(f)
	}},
	{55, "cannot follow what is installed", verify.CodeStep, func(f *fixture) error {
		f.dev.FloorCounter = 3
		defer func() { f.dev.FloorCounter = 0 }()
		return f.changed(func(m *verify.Manifest) { m.MinFromCounter = 5 })
	}},
	{56, "newer format with new members", verify.CodeNewerFormat, func(f *fixture) error {
		return f.edited(`"format":1`, `"format":2,"sparkle":true`)
	}},
}

func (f *fixture) floor(counter int64, digest string) error {
	dev := f.dev
	dev.FloorCounter, dev.FloorDigest = counter, digest
	return openAll(f.file, f.trust, dev)
}
