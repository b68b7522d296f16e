package wire

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Where a device gets its certificate.
const (
	// EnrollPath takes an [EnrollRequest] from whoever has a token.
	EnrollPath = "/v1/enroll"
	// RenewPath takes a [RenewRequest] from a device that shows its certificate.
	RenewPath = "/v1/renew"
	// MaxEnrollment bounds the bodies of both, either way.
	MaxEnrollment = 256 << 10
	// maxCertificates and maxRoot bound what an answer holds.
	maxCertificates = 8
	maxRoot         = 128 << 10
)

// EnrollRequest asks for a certificate by a token.
type EnrollRequest struct {
	Token  string `json:"token"`
	Device string `json:"device"`
	CSR    []byte `json:"csr"` // PKCS#10, DER; its subject is not looked at
}

// RenewRequest asks for another certificate over the key of the present one.
type RenewRequest struct {
	CSR []byte `json:"csr"`
}

// Enrollment is what a device gets.
type Enrollment struct {
	Device      string   `json:"device"`
	Certificate [][]byte `json:"certificate"` // DER: the device's own first, then who vouches for it
	// Authorities vouch for the panel from now on, DER. None if the system's do.
	Authorities [][]byte `json:"authorities,omitempty"`
	// FleetRoot is the root of the fleet whose orders the device obeys from now on,
	// none if the fleet gives no orders.
	FleetRoot []byte `json:"fleetRoot,omitempty"`
}

// ParseEnrollment reads an answer and checks what can be checked without a key.
func ParseEnrollment(text []byte) (e Enrollment, err error) {
	if len(text) > MaxEnrollment {
		return Enrollment{}, errors.New("the panel's answer is too long")
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return Enrollment{}, fmt.Errorf("the panel's answer is no enrolment: %w", err)
	}
	switch {
	case len(e.Certificate) == 0 || len(e.Certificate) > maxCertificates || len(e.Authorities) > maxCertificates:
		return Enrollment{}, errors.New("the panel's answer has no certificate, or too many")
	case len(e.FleetRoot) > maxRoot:
		return Enrollment{}, errors.New("the fleet's root is too long")
	}
	chain, err := Certificates(e.Certificate)
	if err != nil {
		return Enrollment{}, err
	}
	if _, err := Certificates(e.Authorities); err != nil {
		return Enrollment{}, err
	}
	if name, ok := DeviceOf(chain[0]); !ok || name != e.Device {
		return Enrollment{}, errors.New("the certificate is not for the device that the panel names")
	}
	return e, nil
}

// Certificates parses each of a list.
func Certificates(der [][]byte) (list []*x509.Certificate, err error) {
	for _, one := range der {
		c, err := x509.ParseCertificate(one)
		if err != nil {
			return nil, fmt.Errorf("a certificate of the panel's cannot be read: %w", err)
		}
		list = append(list, c)
	}
	return list, nil
}

const deviceScheme, devicePrefix = "slipstream", "device:"

// DeviceURI is the name of a device in its certificate, slipstream:device:ID.
func DeviceURI(device string) *url.URL {
	return &url.URL{Scheme: deviceScheme, Opaque: devicePrefix + device}
}

// DeviceOf is the device that a certificate was made for. It says nothing of who
// signed it.
func DeviceOf(c *x509.Certificate) (string, bool) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != deviceScheme {
		return "", false
	}
	device, ok := strings.CutPrefix(c.URIs[0].Opaque, devicePrefix)
	return device, ok && device != "" && c.URIs[0].String() == DeviceURI(device).String()
}

// Problem is an answer that refuses, as RFC 9457 writes it. Code is ours and stable.
type Problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string { return p.Detail }

// Codes of a [Problem].
const (
	CodeBadToken     = "bad-token"     // nobody made it, or it has another secret
	CodeUsedToken    = "used-token"    // somebody enrolled with it before
	CodeExpiredToken = "expired-token" // it was good for a time only
	CodeOtherDevice  = "other-device"  // it is for a device of another name
	CodeTakenName    = "taken-name"    // another device has this name; only a token for it replaces it
	CodeBadRequest   = "bad-request"
	CodeNoIdentity   = "no-identity" // the caller shows no certificate of a device that may call
)
