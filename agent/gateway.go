package agent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"slipstream/agent/config"
)

// gatewaySecretEnv tells the gateway the secret with which the device's own link
// watches: no argument, which every user of the device could read.
const gatewaySecretEnv = "SLIPSTREAM_GATEWAY_SECRET"

// maxSecret bounds what is read of a file with a secret.
const maxSecret = 128

// GatewaySecret is what the gateway is shown by the device's own link.
func (a *Agent) GatewaySecret() string { return a.secret }

// gatewaySecret is kept in the run directory, because a gateway that is adopted
// knows the one of the agent before.
func gatewaySecret(run string) (string, error) {
	path := filepath.Join(run, "gateway.secret")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("the gateway's secret: %w", err)
	}
	defer f.Close()
	secret, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err == nil && len(secret) == 0 { // the first agent since the boot
		secret = []byte(rand.Text())
		_, err = f.Write(secret)
	}
	var info fs.FileInfo
	if err == nil {
		info, err = f.Stat()
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = errors.New("others may read it")
	}
	if err != nil {
		return "", fmt.Errorf("the gateway's secret in %s: %w", path, err)
	}
	return string(secret), nil
}

// gatewayArgs are the gateway's arguments.
func gatewayArgs(run string, gw config.Gateway) []string {
	args := []string{"--run", run}
	for _, a := range []struct{ flag, value string }{
		{"--viewers", gw.Viewers}, {"--http", gw.HTTP}, {"--rtsp", gw.RTSP}, {"--udp", gw.UDP},
		{"--rtsps", gw.RTSPS}, {"--tls-cert", gw.TLSCert}, {"--tls-key", gw.TLSKey}, {"--metrics", gw.Metrics},
	} {
		if a.value != "" {
			args = append(args, a.flag, a.value)
		}
	}
	if gw.Public {
		args = append(args, "--public")
	}
	for _, ip := range gw.Advertise {
		args = append(args, "--advertise", ip)
	}
	for _, origin := range gw.Origins {
		args = append(args, "--origin", origin)
	}
	for _, a := range []struct {
		flag  string
		value int
	}{{"--max-viewers", gw.MaxViewers}, {"--max-per-address", gw.MaxPerAddress}} {
		if a.value != 0 {
			args = append(args, a.flag, strconv.Itoa(a.value))
		}
	}
	return args
}
