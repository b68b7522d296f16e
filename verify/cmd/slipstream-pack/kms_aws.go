//go:build kms || kms_aws

package main

import _ "github.com/sigstore/sigstore/pkg/signature/kms/aws"
