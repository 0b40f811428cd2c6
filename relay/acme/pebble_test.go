package acme

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxkeep/mxkeep/integration/primary"
)

// issuing starts an authority that asks at a listener, and returns how to ask
// it. Every name leads to this machine; each challenge has its own, because the
// library has one memory of challenges by name for the whole process.
func issuing(t *testing.T, challenge string) Options {
	t.Helper()
	binary, err := exec.LookPath("pebble")
	if err != nil {
		t.Skip("pebble is not here: apt-get install pebble")
	}
	own, err := primary.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Hostname: challenge + ".corp.example", Email: "postmaster@corp.example", Challenge: challenge, Listener: listen(t, "127.0.0.1:0"), Roots: own.Pool()}
	names := loopback(t)
	for range 5 { // a port that was free may be taken by now
		if o.Directory = pebble(t, binary, names, own, o.Listener.Addr().(*net.TCPAddr).Port); o.Directory != "" {
			return o
		}
	}
	t.Fatal("pebble does not start")
	return o
}

// loopback is a name server for which every name is that of this machine.
func loopback(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			a.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(a) // who does not hear it asks again
	})}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		conn.Close()
		<-served
	})
	return conn.LocalAddr().String()
}

// pebble starts the authority and returns its directory, "" if it ended.
func pebble(t *testing.T, binary, names string, own *primary.Authority, port int) string {
	t.Helper()
	folder := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate, err := own.Certificate("localhost")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	at, management := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	config, _ := json.Marshal(map[string]any{"pebble": map[string]any{ // nothing in it can fail
		"listenAddress": at.Addr().String(), "managementListenAddress": management.Addr().String(), "httpPort": port, "tlsPort": port,
		"certificate": file("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})),
		"privateKey":  file("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))}})
	at.Close()
	management.Close()
	cmd := exec.Command(binary, "-config", file("config.json", config), "-dnsserver", names)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only if it has ended
		<-ended
	})
	_, number, _ := net.SplitHostPort(at.Addr().String())
	directory := "https://localhost:" + number + "/dir"
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: own.Pool()}}}
	for tick := time.Tick(20 * time.Millisecond); ; {
		if answer, err := client.Get(directory); err == nil {
			answer.Body.Close()
			return directory
		}
		select {
		case <-ended:
			return ""
		case <-tick:
		}
	}
}
