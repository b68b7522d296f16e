//go:build keyless

package verify_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	sigroot "github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"google.golang.org/protobuf/encoding/protojson"

	"slipstream/verify"
	"slipstream/verify/trusttest"
)

// codeCertificate is the refusal of a bundle that is made with a certificate.
const codeCertificate = verify.CodeBundle

const (
	workflow = "https://github.com/example/gatecam/.github/workflows/release.yml@refs/heads/main"
	issuer   = "https://token.actions.githubusercontent.com"
)

// sigstoreWorld is a whole Sigstore in memory, and a vendor who lets a build sign.
type sigstoreWorld struct {
	*trustWorld
	ca     *ca.VirtualSigstore
	logged []verify.LogEntry // of the package accepted last
}

func newSigstoreWorld(t *testing.T) *sigstoreWorld {
	t.Helper()
	virtual, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	w := &sigstoreWorld{trustWorld: newTrustWorld(newFixture(t)), ca: virtual}
	w.vendor.Targets.Threshold = 1
	w.vendor.Terms.Keyless = &verify.Keyless{
		Identities:  []verify.Identity{{Issuer: "https://elsewhere.example", Subject: workflow}, {Issuer: issuer, Subject: workflow}},
		TrustedRoot: trustedRoot(t, virtual),
	}
	return w
}

// trustedRoot is what sigstore calls trusted_root.json.
func trustedRoot(t *testing.T, virtual *ca.VirtualSigstore) []byte {
	t.Helper()
	logs := virtual.RekorLogs()
	for _, log := range logs { // the helper gives the id as text
		id, err := hex.DecodeString(string(log.ID))
		if err != nil {
			t.Fatal(err)
		}
		log.ID = id
	}
	material, err := sigroot.NewTrustedRoot(sigroot.TrustedRootMediaType01, virtual.FulcioCertificateAuthorities(), nil, virtual.TimestampingAuthorities(), logs)
	if err != nil {
		t.Fatal(err)
	}
	data, err := material.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sign is the bundle of a build: certificate, signature, log entry and time stamp.
func (w *sigstoreWorld) sign(subject, from string, change func(*protobundle.Bundle)) []byte {
	w.t.Helper()
	entity, err := w.ca.AttestAtTime(subject, from, w.payload, time.Now().Add(5*time.Minute), true)
	if err != nil {
		w.t.Fatal(err)
	}
	b := &protobundle.Bundle{MediaType: verify.MediaType, VerificationMaterial: w.material(entity)}
	content, err := entity.SignatureContent()
	if err != nil {
		w.t.Fatal(err)
	}
	envelope := content.(*bundle.Envelope)
	sig := envelope.Signature()
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: w.payload, PayloadType: verify.PayloadType, Signatures: []*protodsse.Signature{{Sig: sig}},
	}}
	if change != nil {
		change(b)
	}
	data, err := protojson.Marshal(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *sigstoreWorld) material(entity *ca.TestEntity) *protobundle.VerificationMaterial {
	w.t.Helper()
	content, err := entity.VerificationContent()
	if err != nil {
		w.t.Fatal(err)
	}
	m := &protobundle.VerificationMaterial{
		Content:                   &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: content.Certificate().Raw}},
		TimestampVerificationData: &protobundle.TimestampVerificationData{},
	}
	entries, err := entity.TlogEntries()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, entry := range entries {
		line := entry.TransparencyLogEntry()
		line.KindVersion = &rekor.KindVersion{Kind: "dsse", Version: "0.0.1"} // the helper leaves it out
		m.TlogEntries = append(m.TlogEntries, line)
	}
	stamps, err := entity.Timestamps()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, stamp := range stamps {
		m.TimestampVerificationData.Rfc3161Timestamps = append(m.TimestampVerificationData.Rfc3161Timestamps,
			&protocommon.RFC3161SignedTimestamp{SignedTimestamp: stamp})
	}
	return m
}

// accept judges the package with some bundles under the vendor's root.
func (w *sigstoreWorld) accept(bundles ...[]byte) error {
	w.t.Helper()
	trust := w.vendor.Parse(w.t).Trust()
	parts := [][]byte{member(verify.HeadName, bundles[0])}
	if len(bundles) > 1 {
		parts = append(parts, member("manifest.2.sigstore.json", bundles[1]))
	}
	file := join(append(parts, member("app.tree.chunks", w.f.index), member("app.tree", w.f.image), make([]byte, 1024))...)
	p, err := verify.Open(bytes.NewReader(file), int64(len(file)), trust, w.dev)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(p.Signer, verify.KeylessSigner) || p.Signer != verify.KeylessSigner+workflow {
		w.t.Errorf("signed by %q", p.Signer)
	}
	w.logged = p.Logged
	return p.CheckAll(w.t.Context())
}

func TestKeylessPackage(t *testing.T) {
	w := newSigstoreWorld(t)
	good := w.sign(workflow, issuer, nil)
	if err := w.accept(good); err != nil {
		t.Fatal(err)
	}
	// The device's time decides nothing but the root's own expiry.
	w.dev.Time = w.vendor.Expires.AddDate(0, 0, -1)
	if err := w.accept(good); err != nil {
		t.Errorf("ten years later: %v", err)
	}
	w.dev.Time = time.Time{}
	if err := w.accept(good); err != nil {
		t.Errorf("without a clock: %v", err)
	}
}

func TestKeylessRefusals(t *testing.T) {
	w := newSigstoreWorld(t)
	other, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := &sigstoreWorld{trustWorld: w.trustWorld, ca: other}
	payload := bytes.Replace(w.payload, []byte(`"2.0.0"`), []byte(`"6.6.6"`), 1)
	for _, row := range []struct {
		name, code string
		bundle     []byte
	}{
		{"another workflow", verify.CodeUntrusted, w.sign(workflow+"2", issuer, nil)},
		{"the same workflow by another issuer", verify.CodeUntrusted, w.sign(workflow, issuer+".example", nil)},
		{"another Sigstore", verify.CodeUntrusted, elsewhere.sign(workflow, issuer, nil)},
		{"no time stamp", verify.CodeUntrusted, w.sign(workflow, issuer, func(b *protobundle.Bundle) {
			b.VerificationMaterial.TimestampVerificationData = nil
		})},
		{"another's time stamp", verify.CodeUntrusted, w.sign(workflow, issuer, func(b *protobundle.Bundle) {
			b.VerificationMaterial.TimestampVerificationData = elsewhereMaterial(elsewhere).TimestampVerificationData
		})},
		{"no log entry", verify.CodeUntrusted, w.sign(workflow, issuer, func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries = nil
		})},
		{"another's log entry", verify.CodeUntrusted, w.sign(workflow, issuer, func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries = elsewhereMaterial(elsewhere).TlogEntries
		})},
		{"a changed statement", verify.CodeUntrusted, w.sign(workflow, issuer, func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Payload = payload
		})},
		{"another payload type", verify.CodeWrongDocument, w.sign(workflow, issuer, func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().PayloadType = "application/json"
		})},
		{"no signature", verify.CodeUnsigned, w.sign(workflow, issuer, func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Signatures = nil
		})},
		{"a certificate that is none", verify.CodeUntrusted, w.sign(workflow, issuer, func(b *protobundle.Bundle) {
			b.VerificationMaterial.GetCertificate().RawBytes = []byte("x")
		})},
	} {
		if err := w.accept(row.bundle); verify.Code(err) != row.code {
			t.Errorf("%s: got %v, want code %q", row.name, err, row.code)
		}
	}
	good := w.sign(workflow, issuer, nil)
	w.vendor.Terms.Keyless = nil
	if err := w.accept(good); verify.Code(err) != verify.CodeUntrusted {
		t.Errorf("a root that lets nobody sign without a key: %v", err)
	}
}

// Where the log has a signature is told, of entries that hold and of no others.
func TestKeylessLogEntries(t *testing.T) {
	w := newSigstoreWorld(t)
	other, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	var own *rekor.TransparencyLogEntry
	both := w.sign(workflow, issuer, func(b *protobundle.Bundle) {
		own = b.VerificationMaterial.TlogEntries[0]
		foreign := elsewhereMaterial(&sigstoreWorld{trustWorld: w.trustWorld, ca: other}).TlogEntries[0]
		foreign.LogIndex = own.LogIndex + 1
		b.VerificationMaterial.TlogEntries = append([]*rekor.TransparencyLogEntry{foreign}, own)
	})
	if err := w.accept(both); err != nil {
		t.Fatal(err)
	}
	want := []verify.LogEntry{{Log: hex.EncodeToString(own.LogId.KeyId), Index: own.LogIndex, Time: time.Unix(own.IntegratedTime, 0).UTC()}}
	if !slices.Equal(w.logged, want) {
		t.Errorf("%+v, want %+v", w.logged, want)
	}
	key := trusttest.Bundles(t, verify.PayloadType, w.payload, w.vendor.Targets.Keys[0])[0]
	if err := w.accept(w.sign(workflow, issuer, nil), key); err != nil || len(w.logged) != 1 {
		t.Errorf("with a key beside it: %+v, %v", w.logged, err)
	}
}

func elsewhereMaterial(w *sigstoreWorld) *protobundle.VerificationMaterial {
	w.t.Helper()
	entity, err := w.ca.AttestAtTime(workflow, issuer, w.payload, time.Now().Add(5*time.Minute), true)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.material(entity)
}

// An identity counts as one of those that must sign, and twice as one.
func TestKeylessThreshold(t *testing.T) {
	w := newSigstoreWorld(t)
	w.vendor.Targets.Threshold = 2
	build := w.sign(workflow, issuer, nil)
	key := trusttest.Bundles(t, verify.PayloadType, w.payload, w.vendor.Targets.Keys[0])[0]
	if err := w.accept(build); verify.Code(err) != verify.CodeThreshold {
		t.Errorf("alone: %v", err)
	}
	if err := w.accept(build, w.sign(workflow, issuer, nil)); verify.Code(err) != verify.CodeThreshold {
		t.Errorf("twice: %v", err)
	}
	if err := w.accept(build, key); err != nil {
		t.Errorf("with a key: %v", err)
	}
}

// A fleet's word is its keys' own.
func TestKeylessOrderIsRefused(t *testing.T) {
	w := newSigstoreWorld(t)
	w.enrolled()
	statement, err := json.Marshal(w.order.Statement())
	if err != nil {
		t.Fatal(err)
	}
	w.payload = statement
	_, err = verify.ParseOrder([][]byte{w.sign(workflow, issuer, nil)}, w.dev.Fleet.Root)
	if verify.Code(err) != verify.CodeKeyless {
		t.Errorf("got %v", err)
	}
}
