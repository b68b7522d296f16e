//go:build !keyless

package verify_test

import "slipstream/verify"

// codeCertificate is the refusal of a bundle that is made with a certificate.
const codeCertificate = verify.CodeKeyless
