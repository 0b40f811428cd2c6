package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

const mailLF = "From: Alice <a@far.example>\nTo: b@corp.example\nSubject: hello\n\nText\x1b[31m\n"

// place is a folder with a message, a key whose record is in a DNS, and that DNS.
type place struct {
	*rig
	t      *testing.T
	server *dnstest.Server
	dns    string
	key    string
	mail   string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{rig: newRig(t), t: t, server: dnstest.New(t, `far.example. 60 IN TXT "v=spf1 ip4:192.0.2.9 -all"`,
		`_dmarc.far.example. 60 IN TXT "v=DMARC1; p=reject"`)}
	p.dns = p.server.Listen(t)
	folder := t.TempDir()
	p.key, p.mail = filepath.Join(folder, "arc.pem"), filepath.Join(folder, "mail.eml")
	p.write(p.mail, mailLF)
	made := p.run("auth", "keygen", p.key, "--domain", "corp.example", "--selector", "arc1", "--algorithm", "ed25519", "--json")
	var key madeKey
	if err := json.Unmarshal([]byte(made.out), &key); err != nil || made.code != 0 {
		t.Fatalf("%+v %v", made, err)
	}
	p.server.AddTXT(key.Name, key.Text)
	return p
}

func (p *place) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// seal seals a message; more flags may follow.
func (p *place) seal(file string, more ...string) result {
	p.t.Helper()
	return p.run(append([]string{"auth", "seal", file, "--key", p.key, "--selector", "arc1", "--domain", "corp.example", "--authserv-id", "mx2.corp.example",
		"--dns", p.dns, "--now", "2026-03-12T13:04:10Z"}, more...)...)
}

func (p *place) verify(file string, more ...string) result {
	p.t.Helper()
	return p.run(append([]string{"auth", "verify", file, "--client", "192.0.2.9", "--helo", "mx.far.example", "--from", "a@far.example", "--dns", p.dns}, more...)...)
}

func TestAuthSealThenVerify(t *testing.T) {
	p := newPlace(t)
	once := p.seal(p.mail, "--client", "192.0.2.9", "--from", "<a@far.example>")
	if once.code != 0 || !strings.Contains(once.errs, "end in LF alone") {
		t.Fatalf("exit %d: %s", once.code, once.errs)
	}
	crlf := strings.ReplaceAll(mailLF, "\n", "\r\n")
	if !strings.HasSuffix(once.out, crlf) || !strings.Contains(once.out, "i=1; mx2.corp.example;\r\n\tspf=pass smtp.mailfrom=far.example;\r\n") ||
		!strings.Contains(once.out, "arc=none smtp.remote-ip=192.0.2.9\r\n") || !strings.Contains(once.out, " t=1773320650;") {
		t.Errorf("sealed %q", once.out)
	}
	p.write(p.mail, once.out)
	twice := p.seal(p.mail, "--headers", "to,subject")
	if twice.code != 0 || twice.errs != "" || strings.Contains(twice.out[:len(twice.out)-len(once.out)], "spf=") || !strings.Contains(twice.out, "h=from:to:subject:from;") {
		t.Fatalf("%+v", twice)
	}
	p.write(p.mail, twice.out)
	golden(t, "auth-verify-pipe", p.verify(p.mail).out)
	document := p.verify(p.mail, "--json", "--now", "2026-03-12T14:00:00Z")
	var v verification
	if err := json.Unmarshal([]byte(document.out), &v); err != nil {
		t.Fatal(err)
	}
	if v.Auth.ARC.Result != "pass" || len(v.Sets) != 2 || v.Sets[1].Instance != 2 || v.Auth.DMARC.Result != "pass" || !v.Auth.ReversePath || v.Converted ||
		!strings.Contains(v.Field, "arc=pass header.oldest-pass=0 smtp.remote-ip=192.0.2.9") {
		t.Errorf("%s", document.out)
	}
	p.write(p.mail, strings.Replace(twice.out, "Text", "Other text", 1))
	for _, width := range []int{80, 120} {
		got := p.terminal(width, "", "auth", "verify", p.mail, "--client", "192.0.2.9", "--from", "a@far.example", "--dns", p.dns)
		golden(t, fmt.Sprintf("auth-verify-broken-%d", width), got.out)
	}
	last := p.seal(p.mail)
	if last.code != 0 || !strings.HasPrefix(last.out, "ARC-Seal: i=3; a=ed25519-sha256; cv=fail;") {
		t.Fatalf("%+v", last)
	}
	p.write(p.mail, last.out)
	if got := p.seal(p.mail); got.code != 1 || got.out != "" || !strings.HasPrefix(got.errs, "E1803 not_sealed: the chain has ended already\n") {
		t.Errorf("%+v", got)
	}
}

// TestAuthSealText: JSON is the set alone; a terminal gets nothing that does not print.
func TestAuthSealText(t *testing.T) {
	p := newPlace(t)
	var set sealed
	if got := p.seal(p.mail, "--json"); json.Unmarshal([]byte(got.out), &set) != nil || !set.Converted || !strings.HasPrefix(set.Set, "ARC-Seal: i=1") || strings.Contains(set.Set, "Subject") {
		t.Errorf("%+v", got)
	}
	got := p.terminal(80, "", "auth", "seal", p.mail, "--key", p.key, "--selector", "arc1", "--domain", "corp.example", "--authserv-id", "mx2.corp.example", "--dns", p.dns)
	if got.code != 0 || strings.ContainsAny(got.out, "\r\x1b") || !strings.Contains(got.out, `Text\x1b[31m`) {
		t.Errorf("%+v", got)
	}
}

func TestAuthReadsStandardInput(t *testing.T) {
	p := newPlace(t)
	for _, args := range [][]string{{"auth", "verify"}, {"auth", "verify", "-"}} {
		got := p.with(screen{}, "From: a@far.example\r\n\r\nx\r\n", append(args, "--client", "192.0.2.9", "--dns", p.dns)...)
		if got.code != 0 || got.errs != "" || !strings.Contains(got.out, "fail   far.example   p=reject of far.example") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// TestAuthNow: the end of signatures is held against the time that was given.
func TestAuthNow(t *testing.T) {
	p := newPlace(t)
	p.write(p.mail, expiring(t, p))
	for now, want := range map[string]string{"2026-03-12T13:00:00Z": "pass", "2026-03-12T14:00:01Z": "permerror"} {
		var v verification
		got := p.verify(p.mail, "--json", "--now", now)
		if err := json.Unmarshal([]byte(got.out), &v); err != nil || len(v.Auth.DKIM) != 1 || v.Auth.DKIM[0].Result != want {
			t.Errorf("%s: %v\n%s", now, err, got.out)
		}
	}
}

func TestAuthKeygen(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "arc.pem")
	made := r.run("auth", "keygen", file, "--domain", "Corp.example", "--selector", "ARC1")
	lines := strings.Split(made.out, "\n")
	if made.code != 0 || lines[0] != "arc1._domainkey.corp.example. IN TXT (" || !strings.HasPrefix(lines[1], `  "v=DKIM1; k=rsa; p=MII`) || len(lines[1]) != 2+2+255 ||
		lines[len(lines)-2] != ")" || !strings.Contains(made.errs, "mxkeep help arc") {
		t.Errorf("%+v", made)
	}
	at, err := os.Stat(file)
	if err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", at, err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if again := r.run("auth", "keygen", file, "--domain", "corp.example", "--selector", "arc1"); again.code != exitUsage || again.out != "" || !strings.HasPrefix(again.errs, "E1804 key_exists") {
		t.Errorf("%+v", again)
	}
	if after, err := os.ReadFile(file); err != nil || !slices.Equal(after, before) {
		t.Error("the key was written over")
	}
}

func TestAuthRefuses(t *testing.T) {
	p := newPlace(t)
	open := filepath.Join(t.TempDir(), "open.pem")
	p.write(open, "")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	keygen, seal := "auth keygen "+filepath.Join(t.TempDir(), "new.pem"), "auth seal "+p.mail+" --selector arc1 --domain corp.example --authserv-id mx2.corp.example"
	for args, want := range map[string]string{
		keygen:                            "E1101 usage: give --domain",
		keygen + " --domain corp.example": "E1101 usage: give --selector",
		keygen + " --domain corp.example --selector a --algorithm dsa":       "E1101 usage: --algorithm",
		keygen + " --domain corp.example --selector a --bits 512":            "E1101 usage: --bits: 512 bits, want 1024 to 4096",
		keygen + " --domain corp.example --selector a;b --algorithm ed25519": "E1101 usage: \"a;b\" is no selector",
		keygen + " --domain corp.example --selector a --dry-run":             "E1101 usage: auth keygen has no --dry-run",
		"auth keygen": "E1101 usage: give the file to make",
		"auth keygen /nowhere/a.pem --domain d.example --selector a --algorithm ed25519": "E1805 key_unwritten",
		"auth verify a b":                                                            "E1101 usage: give one file",
		"auth verify " + p.mail:                                                      "E1101 usage: give --client",
		"auth verify --client x":                                                     `E1101 usage: --client "x": give an IP address`,
		"auth verify --client ::1 --now noon":                                        `E1101 usage: --now "noon": give a time`,
		"auth verify --client ::1 --dns here":                                        `E1101 usage: --dns: DNS server "here": want an IP address and a port`,
		"auth verify --client ::1 --authserv-id [::1]":                               "E1101 usage: --authserv-id",
		"auth verify /nowhere/a.eml --client ::1":                                    "E1801 message_unreadable",
		"auth verify " + p.mail + " --client 192.0.2.9 --timeout 1ns --dns " + p.dns: "E1003 timeout",
		"auth verify " + p.mail + " --client 192.0.2.9 -o csv":                       "E1101 usage: this command has no output as csv",
		seal: "E1101 usage: give --key",
		seal + " --key " + p.key + " --headers arc-seal --dns " + p.dns: "E1101 usage: arc-seal must not be signed",
		seal + " --key " + p.key + " --now noon":                        `E1101 usage: --now "noon": give a time`,
		seal + " --key " + open:                                         "E1802 bad_key: others may read",
		seal + " --key /nowhere/a.pem":                                  "E1802 bad_key",
		"auth seal --key k --selector a --domain d.example":             "E1101 usage: give --authserv-id",
	} {
		got := p.run(strings.Fields(args)...)
		if got.code == 0 || got.out != "" || !strings.Contains(got.errs, want) {
			t.Errorf("%s: %+v, want %s", args, got, want)
		}
	}
}

// TestAuthNotNow: while keys cannot be looked up nothing is sealed.
func TestAuthNotNow(t *testing.T) {
	p := newPlace(t)
	p.write(p.mail, p.seal(p.mail).out)
	p.server.Trouble("", dnstest.Fail)
	if got := p.seal(p.mail); got.code != 1 || got.out != "" || !strings.HasPrefix(got.errs, "E1803 not_sealed: ") || !strings.Contains(got.errs, "cannot be looked up") {
		t.Errorf("%+v", got)
	}
}

// TestAuthKeyIsWholeOrNone: what cannot be written to the end is not left behind.
func TestAuthKeyIsWholeOrNone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "arc.pem")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	var failed failure
	if err := fill(f, []byte("key")); !errors.As(err, &failed) || failed.code != "key_unwritten" {
		t.Errorf("written to a closed file: %v", err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestAuthVerifyWords: all that there may be to say.
func TestAuthVerifyWords(t *testing.T) {
	v := verification{Auth: &admin.Auth{MailFrom: admin.SPF{Result: "temperror", Domain: "far.example", Reason: "time-out"},
		DKIM: []admin.Signature{{Result: "pass", Domain: "far.example", Selector: "s1", Algorithm: "rsa-sha256"},
			{Result: "fail", Domain: "list.example", Selector: "x\x1b", Algorithm: "ed25519-sha256", Reason: "body hash did not verify"}}, Unchecked: 2,
		DMARC: admin.DMARC{Result: "none", Domain: "far.example"}, ARC: admin.ARC{Result: "pass", OldestPass: 2}},
		Sets: []arcSet{{1, "list.example", "s", "rsa-sha256", "mx.list.example; spf=pass"}}}
	for _, width := range []int{80, 120} {
		var out strings.Builder
		a := &app{screen: screen{out: true, width: width, utf8: true}, env: func(string) string { return "" }}
		a.showVerification(&out, v)
		golden(t, fmt.Sprintf("auth-verify-%d", width), out.String())
	}
}

// expiring is a message whose signature ends at two o'clock.
func expiring(t *testing.T, p *place) string {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.server.AddTXT("s1._domainkey.far.example", "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(public))
	var signed strings.Builder
	err = dkim.Sign(&signed, strings.NewReader(strings.ReplaceAll(mailLF, "\n", "\r\n")), &dkim.SignOptions{Domain: "far.example", Selector: "s1", Signer: key,
		Expiration: time.Date(2026, 3, 12, 14, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	return signed.String()
}
