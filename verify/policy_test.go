package verify

import (
	"testing"
	"time"
)

func TestAllow(t *testing.T) {
	dev := func(counter int64, digest string) Device {
		return Device{Product: "gatecam", Hardware: "cam-a1", FloorCounter: counter, FloorDigest: digest}
	}
	for _, row := range []struct {
		name string
		dev  Device
		code string
	}{
		{"a device that never had a version", dev(0, ""), ""},
		{"a step up", dev(6, "old"), ""},
		{"the same package again", dev(7, "this"), ""},
		{"at the floor, whose package is not known", dev(7, ""), ""},
		{"the floor's counter with other content", dev(7, "other"), CodeCounterReused},
		{"below the floor", dev(8, "this"), CodeRollback},
		{"exactly the release it must follow", dev(2, "old"), ""},
		{"one release too early", dev(1, "old"), CodeStep},
		{"no hardware set up", Device{Product: "gatecam"}, CodeWrongHardware},
		{"nothing set up", Device{}, CodeWrongProduct},
	} {
		m := sampleManifest() // release 7, from 2
		if err := m.Allow("this", nil, row.dev); Code(err) != row.code || err != nil && row.code == "" {
			t.Errorf("%s: got %v with code %q, want code %q", row.name, err, Code(err), row.code)
		}
	}
}

// What was permanent once may be returned to above the floors that the device keeps, and
// nowhere else, whatever came in between.
func TestMayReturn(t *testing.T) {
	for _, row := range []struct {
		name string
		dev  Device
		code string
	}{
		{"the floor is its own", Device{Product: "gatecam", Hardware: "cam-a1", FloorCounter: 7, FloorDigest: "other"}, ""},
		{"a floor above it", Device{Product: "gatecam", Hardware: "cam-a1", FloorCounter: 8}, CodeRollback},
		{"an epoch above its own", Device{Product: "gatecam", Hardware: "cam-a1", FloorEpoch: 1}, CodeEpoch},
		{"another hardware", Device{Product: "gatecam", Hardware: "cam-b1"}, CodeWrongHardware},
		{"another product", Device{Product: "doorcam", Hardware: "cam-a1"}, CodeWrongProduct},
	} {
		m := sampleManifest() // release 7
		m.SecurityEpoch, m.Expires = 0, m.IssuedAt.Add(time.Second)
		row.dev.Time = m.IssuedAt.Add(time.Hour)
		if err := m.MayReturn(nil, row.dev); Code(err) != row.code || err != nil && row.code == "" {
			t.Errorf("%s: got %v with code %q, want code %q", row.name, err, Code(err), row.code)
		}
	}
}

func TestCounterStepIsLimited(t *testing.T) {
	dev := Device{Product: "gatecam", Hardware: "cam-a1", FloorCounter: 7}
	m := sampleManifest()
	m.ReleaseCounter = 7 + MaxCounterStep
	if err := m.Allow("this", nil, dev); err != nil {
		t.Errorf("the greatest step: %v", err)
	}
	m.ReleaseCounter++
	if err := m.Allow("this", nil, dev); Code(err) != CodeCounterJump {
		t.Errorf("one more: %v", err)
	}
}

func TestDeviceRefusesWhatItCannotWrite(t *testing.T) {
	dev := Device{Product: "gatecam", Hardware: "cam-a1", FloorCounter: 6}
	for code, change := range map[string]func(*Manifest){
		CodeClass:     noApp,
		CodeKind:      func(m *Manifest) { m.Images[0].Kind = KindErofs },
		CodeEncrypted: func(m *Manifest) { i := &m.Images[0]; i.Encryption = &Encryption{EncryptionAge, i.Size - 1, i.SHA256} },
	} {
		m := sampleManifest()
		change(&m)
		if err := m.Validate(); err != nil {
			t.Errorf("%s: the manifest itself: %v", code, err)
		}
		if err := m.Allow("this", nil, dev); Code(err) != code {
			t.Errorf("%s: got %v", code, err)
		}
	}
}

func TestDeviceTakesTheKindsThatItCanRun(t *testing.T) {
	dev := Device{Product: "gatecam", Hardware: "cam-a1", FloorCounter: 6, Kinds: []string{KindTree, KindErofs}}
	for kind, code := range map[string]string{KindTree: "", KindErofs: "", KindSquashfs: CodeKind, KindDisk: CodeKind} {
		m := sampleManifest()
		m.Images[0].Kind = kind
		if err := m.Allow("this", nil, dev); Code(err) != code || (err == nil) != (code == "") {
			t.Errorf("%s: got %v", kind, err)
		}
	}
}

// A device takes what it has slots for, and of a kind that these can hold.
func TestSystemImagesNeedSystemSlots(t *testing.T) {
	m := Manifest{Images: []Image{{Name: "rootfs", Class: ClassSystem, Kind: KindDisk}}}
	for _, test := range []struct {
		name    string
		class   string
		kinds   []string
		refusal string
	}{
		{"no system slots", ClassSystem, nil, CodeClass},
		{"another kind", ClassSystem, []string{KindErofs}, CodeKind},
		{"the kind", ClassSystem, []string{KindErofs, KindDisk}, ""},
		{"the programs of Slipstream", ClassRuntime, []string{KindDisk}, CodeClass},
	} {
		m.Images[0].Class = test.class
		if err := m.writable(Device{Kinds: []string{KindTree}, Systems: test.kinds}); Code(err) != test.refusal {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
