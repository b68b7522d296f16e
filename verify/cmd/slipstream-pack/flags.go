package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipstream/verify"
	"slipstream/verify/pack"
)

// require marks flags that must be given.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a misspelt name
		}
	}
}

// termFlags are what a root says beyond its keys.
type termFlags struct {
	epoch   int64
	floors  []string
	revoked []string
	offline string

	// Who may sign without a key.
	subjects    []string
	issuer      string
	trustedRoot string
}

func (f *termFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Int64Var(&f.epoch, "security-epoch", 0, "of a vendor: packages with a lower security epoch are refused")
	flags.StringArrayVar(&f.floors, "floor", nil, "of a vendor: `PRODUCT=N`, releases below N are refused")
	flags.StringArrayVar(&f.revoked, "revoke", nil, "of a vendor: `DIGEST` of a package that is taken back")
	f.defineKeyless(cmd)
	flags.StringVar(&f.offline, "offline", "", "of a fleet: what a package on a stick needs: order (default) or release (the vendor's signature only)")
}

// defineKeyless is apart from the rest because few need it.
func (f *termFlags) defineKeyless(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.subjects, "keyless-subject", nil, "of a vendor: identity that may sign releases without a key; may be given several times")
	flags.StringVar(&f.issuer, "keyless-issuer", "", "who vouches for these identities")
	flags.StringVar(&f.trustedRoot, "trusted-root", "", "sigstore's trusted_root.json, by which keyless signatures are checked")
	cmd.MarkFlagsRequiredTogether("keyless-subject", "keyless-issuer")
}

// applyKeyless replaces identities and trusted root, where they are given.
func (f *termFlags) applyKeyless(t *verify.Terms) error {
	if len(f.subjects) == 0 && f.trustedRoot == "" {
		return nil
	}
	next := verify.Keyless{}
	if t.Keyless != nil {
		next = *t.Keyless
	}
	if f.trustedRoot != "" {
		data, err := pack.ReadFile(f.trustedRoot)
		if err != nil {
			return err
		}
		next.TrustedRoot = data
	}
	if len(f.subjects) > 0 {
		next.Identities = nil
	}
	for _, subject := range f.subjects {
		next.Identities = append(next.Identities, verify.Identity{Issuer: f.issuer, Subject: subject})
	}
	switch {
	case len(next.TrustedRoot) == 0:
		return errors.New("--trusted-root is missing: without it nobody's signature without a key can be checked")
	case len(next.Identities) == 0:
		return errors.New("--keyless-subject is missing: nobody may sign without a key yet")
	}
	t.Keyless = &next
	return nil
}

// apply changes what was asked for, and leaves the rest.
func (f *termFlags) apply(cmd *cobra.Command, t *verify.Terms) error {
	if cmd.Flags().Changed("security-epoch") {
		if f.epoch < t.SecurityEpoch {
			return fmt.Errorf("--security-epoch %d is below the %d of the root before: it never goes down", f.epoch, t.SecurityEpoch)
		}
		t.SecurityEpoch = f.epoch
	}
	counters := map[string]int64{}
	maps.Copy(counters, t.Counters)
	for _, text := range f.floors {
		product, number, _ := strings.Cut(text, "=")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || product == "" {
			return fmt.Errorf("--floor %s must look like gatecam=12", text)
		}
		counters[product] = n
	}
	if len(counters) > 0 {
		t.Counters = counters
	}
	t.Revoked = append(slices.Clip(t.Revoked), f.revoked...)
	if f.offline != "" {
		t.Offline = f.offline
	}
	return f.applyKeyless(t)
}

// now is when the command runs.
func now() time.Time { return time.Now().UTC() }

// endOf reads a date, or a span from now on.
func endOf(text, span string) (time.Time, error) {
	if text == "" {
		text = span
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	n, err := strconv.Atoi(text[:max(len(text)-1, 0)])
	from := now()
	switch {
	case err != nil || n < 1:
	case strings.HasSuffix(text, "y"):
		return from.AddDate(n, 0, 0), nil
	case strings.HasSuffix(text, "d"):
		return from.AddDate(0, 0, n), nil
	case strings.HasSuffix(text, "h"):
		return from.Add(time.Duration(n) * time.Hour), nil
	}
	return time.Time{}, fmt.Errorf("--expires %s must be a date such as 2036-12-31, or a span such as 5y, 30d or 12h", text)
}
