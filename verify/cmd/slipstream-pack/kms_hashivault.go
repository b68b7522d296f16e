//go:build kms || kms_hashivault

package main

import _ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
