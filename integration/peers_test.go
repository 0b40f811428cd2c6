package integration

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/relay/admin"
)

// peerConfig is a relay with the intervals of a test in front of one host.
const peerConfig = `hostname: mx2.corp.example
dns: {servers: ["127.0.0.9:1"]}
data: %q
socket: %q
http:
  listen: ""
inbound:
  listen: [%q]
  min_free: 64MiB
  timeouts:
    greeting: 0s
domain: corp.example
upstream:
  name: mail
  hosts: [%q]
  tls:
    server_name: %s
    ca: %q
  probe:
    every: 1s
    every_bad: 500ms
    timeout: 5s
  delivery:
    start_rate: 1000000
    wait: 100ms
    max_wait: 1s
`

// free finds a port that nobody has. Loopback clients call from 127.0.0.1, so
// it stays free on other addresses.
func free(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pemOf writes a certificate and its key as one file has them.
func pemOf(t *testing.T, certificate tls.Certificate) []byte {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})...)
}

// letter is content that careless handling would change.
func letter(subject string) string {
	return "From: a@sender.example\r\nTo: b@corp.example\r\nMessage-ID: <" + subject + "@sender.example>\r\nSubject: " + subject + "\r\n\r\n" +
		"..two dots\r\n.one dot\r\ntrailing blanks  \r\n\tgr\xc3\xbc\xc3\x9fe\r\n" + strings.Repeat("x", 2000) + "\r\n\r\n"
}

// TestSwaksDelivers sends with swaks, over TLS and without, in different ways,
// and looks at what the primary got.
func TestSwaksDelivers(t *testing.T) {
	t.Parallel()
	swaks := peer(t, "swaks", "swaks")
	if exec.Command("perl", "-MNet::SSLeay", "-e", "1").Run() != nil {
		t.Skip("swaks cannot speak TLS: apt-get install libnet-ssleay-perl")
	}
	folder := t.TempDir()
	exo, err := primary.Start(t.Context(), primary.Options{Addresses: []string{"127.0.0.2:0"}, Domains: []string{"corp.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer exo.Close()
	play(t, exo, "451-4.3.2")
	write(t, filepath.Join(folder, "ca.pem"), exo.CertPEM())
	address := free(t, "127.0.0.4:0")
	d := serve(t, folder, fmt.Sprintf(peerConfig, filepath.Join(folder, "data"), filepath.Join(folder, "admin.sock"), address,
		exo.Addrs()[0], exo.Hostname(), filepath.Join(folder, "ca.pem")))
	d.until("declared outage", 20*time.Second, func(st admin.Status) bool { return st.Upstreams[0].State == "down" })

	file := filepath.Join(folder, "letter.eml")
	for _, way := range []struct {
		name string
		args []string
	}{
		{"plain", nil},
		{"tls", []string{"--tls"}},
		{"pipelined", []string{"--pipeline"}},
		{"null", []string{"--from", "<>"}},
	} {
		write(t, file, []byte(strings.TrimSuffix(letter(way.name), "\r\n"))) // swaks ends the last line
		args := append([]string{"--server", host(address), "--port", port(address), "--helo", "mx.sender.example", "--from", "a@sender.example",
			"--to", "b@corp.example", "--data", "@" + file, "--no-strip-from", "--suppress-data"}, way.args...)
		if out, err := exec.Command(swaks, args...).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("250 2.0.0 queued as ")) {
			t.Fatalf("swaks %s: %v\n%s", way.name, err, out)
		}
	}
	refused := exec.Command(swaks, "--server", host(address), "--port", port(address), "--to", "b@elsewhere.example", "--from", "a@sender.example")
	if out, err := refused.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("550 5.7.1")) {
		t.Errorf("a foreign domain: %v\n%s", err, out)
	}

	play(t, exo, "healthy")
	d.until("empty queue", 60*time.Second, func(st admin.Status) bool { return st.Queue.Messages == 0 })
	for _, name := range []string{"plain", "tls", "pipelined", "null"} {
		found := 0
		for _, got := range received(exo) {
			if strings.HasSuffix(string(got), letter(name)) && relayID(got) != "" && bytes.Contains(got, []byte("\r\nReceived: from mx.sender.example (")) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s: the primary has it %d times, unchanged", name, found)
		}
	}
}

// TestPostfixSendsAndReceives lets Postfix's load generator fill the relay
// while Postfix as the primary is away, and then Postfix take all of it.
func TestPostfixSendsAndReceives(t *testing.T) {
	t.Parallel()
	source := peer(t, "smtp-source", "postfix")
	const messages = 200
	folder := t.TempDir()
	p := preparePostfix(t, folder)
	address := free(t, "127.0.0.4:0")
	d := serve(t, folder, fmt.Sprintf(peerConfig, filepath.Join(folder, "data"), filepath.Join(folder, "admin.sock"), address, p.address, postfixHost, p.caFile))
	d.until("declared outage", 20*time.Second, func(st admin.Status) bool { return st.Upstreams[0].State == "down" })

	out, err := exec.Command(source, "-s", "10", "-m", fmt.Sprint(messages), "-l", "20000", "-M", "mx.sender.example",
		"-f", "a@sender.example", "-t", "b@corp.example", address).CombinedOutput()
	if err != nil {
		t.Fatalf("smtp-source: %v\n%s", err, out)
	}
	if st := d.until("custody", 10*time.Second, func(st admin.Status) bool { return st.Queue.Messages == messages }); st.Account.Accepted != messages || !st.NothingLost {
		t.Errorf("account %+v, nothing lost %v", st.Account, st.NothingLost)
	}

	p.start(t)
	st := d.until("empty queue", 90*time.Second, func(st admin.Status) bool { return st.Queue.Messages == 0 })
	if st.Account.Delivered != messages {
		t.Errorf("account %+v", st.Account)
	}
	contents := p.delivered(t, messages)
	for _, content := range contents {
		if !bytes.Contains(content, []byte("by mx2.corp.example")) {
			t.Fatalf("no trace of the relay in\n%s", content)
		}
	}
}

func host(address string) string { h, _, _ := net.SplitHostPort(address); return h }
func port(address string) string { _, p, _ := net.SplitHostPort(address); return p }

func play(t *testing.T, server *primary.Server, name string) {
	t.Helper()
	scenario, err := primary.Named(name)
	if err == nil {
		err = server.Play(scenario)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// received reads the contents that the primary has recorded.
func received(server *primary.Server) (contents [][]byte) {
	for _, d := range server.Received() {
		contents = append(contents, d.Content)
	}
	return contents
}
