package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"

	"slipstream/verify/pack"
)

// drawer is a program as the makers of hardware modules ship them: it signs with a
// key that the caller never sees. drawer://NAME is the file NAME.
func drawer() {
	if err := openDrawer(); err != nil {
		fmt.Fprintln(os.Stderr, "drawer:", err)
		if err := handler.WriteErrorResponse(os.Stdout, err); err != nil {
			os.Exit(1)
		}
	}
}

func openDrawer() error {
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		return err
	}
	key, err := pack.LoadKey(args.InitOptions.KeyResourceID)
	if err != nil {
		return err
	}
	s, err := signature.LoadSignerVerifier(key, crypto.SHA256)
	if err != nil {
		return err
	}
	_, err = handler.Dispatch(os.Stdout, os.Stdin, args, inDrawer{s})
	return err
}

// inDrawer does what the module does; the rest of the interface is for making keys.
type inDrawer struct{ signature.SignerVerifier }

var _ kms.SignerVerifier = inDrawer{}

func (inDrawer) CreateKey(context.Context, string) (crypto.PublicKey, error) {
	return nil, errors.ErrUnsupported
}

func (inDrawer) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.ErrUnsupported
}

func (inDrawer) SupportedAlgorithms() []string { return []string{"ecdsa-p256-sha256"} }
func (inDrawer) DefaultAlgorithm() string      { return "ecdsa-p256-sha256" }
