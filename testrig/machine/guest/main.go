// Command guest is the rig's hand inside of an emulated machine: over the network that
// nobody but the rig reaches it runs commands, puts files there and gets them, joins the
// rig to the agent's socket, and takes the machine's calls out. It is no part of the product.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"slipstream/testrig/machine/hand"
)

const (
	commandsAt  = ":7000"
	agentAt     = ":7001"
	mediaAt     = ":7002"
	lentAt      = ":7003"
	agentSocket = "/run/slipstream/agent.sock"
	mediaSocket = "10.0.2.15:8189"
	maxOutput   = 4 << 20
	maxRequest  = 1 << 20
	killDelay   = 2 * time.Second
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "hand:", err)
		os.Exit(1)
	}
}

func serve() error {
	var lender hand.Lender
	err := errors.Join(
		each(lentAt, func(c net.Conn) { _ = lender.Lend(c) }), // the other end sees it end
		each(agentAt, func(c net.Conn) { join(c, agentSocket) }),
		each(mediaAt, func(c net.Conn) { _ = hand.Join(c, mediaSocket) }))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /run", run)
	mux.HandleFunc("PUT /file", put)
	mux.HandleFunc("GET /file", get)
	server := http.Server{Addr: commandsAt, Handler: mux, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}

// each serves connections for as long as the process lives.
func each(address string, serve func(net.Conn)) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return nil
}

// join carries bytes between a connection and a unix socket, until both have ended.
func join(from net.Conn, socket string) {
	defer from.Close()
	to, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer to.Close()
	hand.Both(from, to)
}

// run runs a command; whoever asked and goes away ends it.
func run(w http.ResponseWriter, r *http.Request) {
	var c hand.Command
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&c); err != nil || len(c.Args) == 0 {
		http.Error(w, "no command", http.StatusBadRequest)
		return
	}
	cmd := exec.CommandContext(r.Context(), c.Args[0], c.Args[1:]...)
	cmd.Env = []string{"PATH=/sbin:/bin:/usr/sbin:/usr/bin", "HOME=/root"}
	cmd.WaitDelay = killDelay
	var out, complaint limited
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.Input), &out, &complaint
	var done hand.Done
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case errors.As(err, &exit):
		done.Exit = exit.ExitCode()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // what it left behind holds its output
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	done.Out, done.Err = out.String(), complaint.String()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(done) // whoever asked may be gone
}

// limited keeps the beginning of what is written.
type limited struct{ strings.Builder }

func (l *limited) Write(p []byte) (int, error) {
	l.Builder.Write(p[:min(len(p), max(0, maxOutput-l.Len()))])
	return len(p), nil
}

// put makes a file of what is sent, whole or not at all.
func put(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if err := replace(r.Context(), name, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	}
}

func replace(ctx context.Context, name string, from io.Reader) error {
	if !filepath.IsAbs(name) {
		return fmt.Errorf("%q is not an absolute path", name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	if err := errors.Join(err, ctx.Err(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return os.Rename(out.Name(), name)
}

func get(w http.ResponseWriter, r *http.Request) {
	in, err := os.Open(r.URL.Query().Get("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer in.Close()
	_, _ = io.Copy(w, in) // whoever asked may be gone
}
