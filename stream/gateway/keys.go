package gateway

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/pion/dtls/v2"
	"github.com/pion/srtp/v2"
	"github.com/pion/webrtc/v3"

	"slipstream/stream/handover"
)

// errInside means that WebRTC's library is not the version that this file knows.
var errInside = errors.New("webrtc.DTLSTransport has no field conn of type *dtls.Conn: pion/webrtc is not v3.3.6")

// checkInside finds out whether [dtlsConn] may be called, before any viewer comes.
func checkInside() error {
	if f, ok := reflect.TypeFor[webrtc.DTLSTransport]().FieldByName("conn"); !ok || f.Type != reflect.TypeFor[*dtls.Conn]() {
		return errInside
	}
	return nil
}

// dtlsConn reaches into a transport for the one thing that pion/webrtc v3 shows
// nobody: the connection whose keys protect the media. Its last release will not
// change; where a build has another one, checkInside says so.
func dtlsConn(t *webrtc.DTLSTransport) (*dtls.Conn, error) {
	// State takes the lock under which conn was set before the state was.
	if t.State() != webrtc.DTLSTransportStateConnected {
		return nil, fmt.Errorf("read media keys: DTLS is %s", t.State())
	}
	field := reflect.ValueOf(t).Elem().FieldByName("conn")
	return *(**dtls.Conn)(field.Addr().UnsafePointer()), nil
}

// profiles are the ciphers that the gateway takes, the cheapest first: where the
// processor helps with AES, GCM costs a fraction of CM with HMAC-SHA1.
var profiles = []struct {
	dtls dtls.SRTPProtectionProfile
	srtp srtp.ProtectionProfile
	name string
}{
	{dtls.SRTP_AEAD_AES_128_GCM, srtp.ProtectionProfileAeadAes128Gcm, handover.AES128},
	{dtls.SRTP_AEAD_AES_256_GCM, srtp.ProtectionProfileAeadAes256Gcm, handover.AES256},
	{dtls.SRTP_AES128_CM_HMAC_SHA1_80, srtp.ProtectionProfileAes128CmHmacSha1_80, handover.AES128CM},
}

// mediaKeys reads a connected transport's media keys. client tells which side of
// the handshake it was.
func mediaKeys(t *webrtc.DTLSTransport, client bool) (handover.SRTP, error) {
	conn, err := dtlsConn(t)
	if err != nil {
		return handover.SRTP{}, err
	}
	chosen, _ := conn.SelectedSRTPProtectionProfile()
	for _, p := range profiles {
		if p.dtls != chosen {
			continue
		}
		state, c := conn.ConnectionState(), srtp.Config{Profile: p.srtp}
		if err := c.ExtractSessionKeysFromDTLS(&state, client); err != nil {
			return handover.SRTP{}, fmt.Errorf("read media keys: %w", err)
		}
		return handover.SRTP{
			Profile:  p.name,
			LocalKey: c.Keys.LocalMasterKey, LocalSalt: c.Keys.LocalMasterSalt,
			RemoteKey: c.Keys.RemoteMasterKey, RemoteSalt: c.Keys.RemoteMasterSalt,
		}, nil
	}
	return handover.SRTP{}, fmt.Errorf("read media keys: SRTP profile %#04x was not offered", uint16(chosen))
}
