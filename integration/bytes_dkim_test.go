package integration

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

//go:embed testdata/dkim.py
var dkimScript string

// debianPython has the packages of Debian; another one before it in PATH has not.
const debianPython = "/usr/bin/python3"

// dkimpy is another implementation of DKIM, in one process for all messages.
// It is used by one goroutine at a time.
type dkimpy struct {
	t       testing.TB
	in      io.WriteCloser
	out     *json.Decoder
	records map[string]string // TXT by selector
}

// signature says how a message is signed once.
type signature struct {
	selector         string // also the key's algorithm: rsa or ed25519
	canonicalization string // of header and body, as c= has it
	freeze           bool   // more of the common fields are signed than there are
}

// request is what dkimpy is asked: to sign, or to verify.
type request struct {
	Sign             []byte `json:"sign,omitempty"`
	Selector         string `json:"selector,omitempty"`
	Canonicalization string `json:"canonicalization,omitempty"`
	Freeze           bool   `json:"freeze"`
	Verify           []byte `json:"verify,omitempty"`
}

// response is its answer.
type response struct {
	Field    []byte   `json:"field"`
	Verdicts []string `json:"verdicts"`
}

// passed is the verdict on a good signature.
const passed = "pass"

// startDkimpy starts it with fresh keys, or skips the test.
func startDkimpy(t testing.TB) *dkimpy {
	t.Helper()
	if err := exec.Command(debianPython, "-c", "import dkim, nacl.signing").Run(); err != nil {
		t.Skipf("%s has no dkimpy: apt-get install python3-dkim", debianPython)
	}
	cmd := exec.Command(debianPython, "-c", dkimScript)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d := &dkimpy{t: t, in: in, out: json.NewDecoder(out), records: map[string]string{}}
	var words bytes.Buffer
	cmd.Stderr = &words
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("dkimpy ended with %v\n%s", err, words.String())
		}
	})
	d.giveKeys()
	return d
}

// giveKeys makes a key of each algorithm.
func (d *dkimpy) giveKeys() {
	type key struct {
		Algorithm string `json:"algorithm"`
		Private   string `json:"private"`
		Record    string `json:"record"`
	}
	private, err := rsa.GenerateKey(rand.Reader, 1024) // the least that is taken (RFC 8301 3.2): Python is slow
	if err != nil {
		d.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		d.t.Fatal(err)
	}
	point, seed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString
	keys := map[string]key{
		"rsa": {"rsa-sha256", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})),
			"v=DKIM1; k=rsa; p=" + text(public)},
		"ed25519": {"ed25519-sha256", text(seed.Seed()), "v=DKIM1; k=ed25519; p=" + text(point)},
	}
	for selector, k := range keys {
		d.records[selector] = k.Record
	}
	if err := json.NewEncoder(d.in).Encode(keys); err != nil {
		d.t.Fatal(err)
	}
}

// ask puts all requests and returns the answers in their order.
func (d *dkimpy) ask(requests []request) ([]response, error) {
	go func() { // what goes wrong here shows in the answers
		in := json.NewEncoder(d.in)
		for _, q := range requests {
			if in.Encode(q) != nil {
				return
			}
		}
	}()
	answers := make([]response, len(requests))
	for i := range answers {
		if err := d.out.Decode(&answers[i]); err != nil {
			return nil, fmt.Errorf("dkimpy at request %d: %w", i, err)
		}
	}
	return answers, nil
}

// sign puts signatures before every specimen.
func (d *dkimpy) sign(specimens []*specimen) {
	d.t.Helper()
	var requests []request
	for _, s := range specimens {
		for _, signature := range s.signatures {
			requests = append(requests, request{Sign: s.content, Selector: signature.selector, Canonicalization: signature.canonicalization, Freeze: signature.freeze})
		}
	}
	answers, err := d.ask(requests)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, s := range specimens {
		var fields []byte
		for range s.signatures {
			fields = append(fields, answers[0].Field...)
			answers = answers[1:]
		}
		s.content = append(fields, s.content...)
	}
}

// verify gives the verdicts on the signatures of each content, from the top.
func (d *dkimpy) verify(contents [][]byte) ([][]string, error) {
	var requests []request
	for _, content := range contents {
		requests = append(requests, request{Verify: content})
	}
	answers, err := d.ask(requests)
	var all [][]string
	for _, answer := range answers {
		all = append(all, answer.Verdicts)
	}
	return all, err
}

// lookup is the DNS of go-msgauth.
func (d *dkimpy) lookup(name string) ([]string, error) {
	selector, _, _ := strings.Cut(name, ".")
	record, known := d.records[selector]
	if !known || name != selector+"._domainkey.sender.example" {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return []string{record}, nil
}

// serveKeys answers questions about the keys until the test ends, and says where.
func (d *dkimpy) serveKeys() string {
	d.t.Helper()
	server := dnstest.New(d.t)
	for selector, record := range d.records {
		server.AddTXT(selector+"._domainkey.sender.example", record)
	}
	return server.Listen(d.t)
}

// verdicts are what both implementations say of a content.
type verdicts struct {
	msgauth, dkimpy []string // one for each signature, from the top
	err             error    // of go-msgauth about the message
}

func (v verdicts) String() string {
	return fmt.Sprintf("go-msgauth %q, %v, dkimpy %q", v.msgauth, v.err, v.dkimpy)
}

// verifyByBoth gives the verdicts on each content. The two work at the same time.
func (d *dkimpy) verifyByBoth(contents [][]byte) ([]verdicts, error) {
	var other [][]string
	var err error
	var asked sync.WaitGroup
	asked.Go(func() { other, err = d.verify(contents) })
	all := make([]verdicts, len(contents))
	for i, content := range contents {
		all[i].msgauth, all[i].err = d.verifyWithMsgauth(content)
	}
	asked.Wait()
	for i := range other {
		all[i].dkimpy = other[i]
	}
	return all, err
}

// verifyWithMsgauth gives the verdicts of go-msgauth, which wants the empty line
// behind the header even if there is no body.
func (d *dkimpy) verifyWithMsgauth(content []byte) ([]string, error) {
	if !bytes.Contains(content, []byte("\r\n\r\n")) {
		content = append(bytes.Clone(content), "\r\n"...)
	}
	found, err := dkim.VerifyWithOptions(bytes.NewReader(content), &dkim.VerifyOptions{LookupTXT: d.lookup})
	var verdicts []string
	for _, v := range found {
		verdict := passed
		if v.Err != nil {
			verdict = v.Err.Error()
		}
		verdicts = append(verdicts, verdict)
	}
	return verdicts, err
}
