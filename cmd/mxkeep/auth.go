package main

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/spf13/cobra"
)

func newAuth(a *app) *cobra.Command {
	return group("auth", "Find out who wrote a message, seal it, and make the key for that",
		newAuthKeygen(a), newAuthVerify(a), newAuthSeal(a))
}

// authentication is what verify and seal have in common: a message, and whom to ask.
type authentication struct {
	app                 *app
	id                  string
	client, hello, from string
	dns, now            string
	at                  time.Time // of --now; zero is now
	file                string
}

func (r *authentication) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.client, "client", "", "the address of the client that handed it over")
	f.StringVar(&r.hello, "helo", "", "what it said in EHLO or HELO")
	f.StringVar(&r.from, "from", "", `the reverse-path; "" or <> is the null one`)
	f.StringVar(&r.dns, "dns", "", "HOST:PORT of a DNS server (those of resolv.conf)")
	f.StringVar(&r.now, "now", "", "time that it is meant to be (RFC 3339)")
}

// oneFile takes the name of a file, - or nothing, which is standard input.
func oneFile(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("give one file, or - for standard input")
	}
	return nil
}

// identity is who handed the message over.
func (r *authentication) identity() (auth.Identity, error) {
	id := auth.Identity{Hello: r.hello, ReversePath: strings.TrimSuffix(strings.TrimPrefix(r.from, "<"), ">")}
	if r.client != "" {
		address, err := netip.ParseAddr(r.client)
		if err != nil {
			return id, usage("--client %s: give an IP address", quote(r.client))
		}
		id.Client = address
	}
	return id, nil
}

// verifier is that of the relay.
func (r *authentication) verifier() (*auth.Verifier, error) {
	var o dns.Options
	if r.dns != "" {
		o.Servers = []string{r.dns}
	}
	resolver, err := dns.New(o)
	if err != nil {
		return nil, usage("--dns: %v", err)
	}
	if r.now != "" {
		if r.at, err = time.Parse(time.RFC3339, r.now); err != nil {
			return nil, usage("--now %s: give a time like 2026-03-12T13:04:10Z", quote(r.now))
		}
	}
	v, err := auth.New(auth.Options{ID: r.id, Resolver: resolver, At: r.at})
	if err != nil {
		return nil, usage("--authserv-id: %v", err)
	}
	return v, nil
}

// message is what was read from a file.
type message struct {
	content   []byte
	converted bool // its lines ended in LF alone
}

func (m message) open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.content)), nil }

// read reads a message. Where its first line ends in LF alone it is a file of
// this system, and not what came over a network: then every line gets its CR,
// since signatures are made of lines with CRLF.
func (r *authentication) read(args []string) (message, error) {
	r.file = "-"
	if len(args) > 0 {
		r.file = args[0]
	}
	var m message
	var err error
	if r.file == "-" {
		m.content, err = io.ReadAll(r.app.in)
	} else {
		m.content, err = os.ReadFile(r.file)
	}
	if err != nil {
		return m, failure{"message_unreadable", err.Error()}
	}
	if first := bytes.IndexByte(m.content, '\n'); first >= 0 && !bytes.HasSuffix(m.content[:first], []byte("\r")) {
		m.content = bytes.ReplaceAll(bytes.ReplaceAll(m.content, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		m.converted = true
		r.app.words("Its lines end in LF alone: taken as if they ended in CRLF, as they do on the way.")
	}
	return m, nil
}

// examine finds out all that the relay would.
func (r *authentication) examine(cmd *cobra.Command, args []string) (auth.Examination, message, error) {
	id, err := r.identity()
	if err != nil {
		return auth.Examination{}, message{}, err
	}
	v, err := r.verifier()
	if err != nil {
		return auth.Examination{}, message{}, err
	}
	m, err := r.read(args)
	if err != nil {
		return auth.Examination{}, message{}, err
	}
	found, err := v.Examine(cmd.Context(), id, m.open)
	if err == nil {
		err = cmd.Context().Err()
	}
	if err != nil {
		return auth.Examination{}, message{}, fmt.Errorf("%s: %w", r.file, err)
	}
	return found, m, nil
}
