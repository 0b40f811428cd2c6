package relay

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/auth/arc"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// sealingKey makes a file with a key, and puts its record into the DNS.
func sealingKey(t *testing.T, server *dnstest.Server) (configs.ARC, map[string]string) {
	t.Helper()
	key, err := arc.NewKey(arc.RSA, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pem := key.PEM()
	record := key.Record()
	server.AddTXT("arc1._domainkey.corp.example", record)
	return configs.ARC{Key: write(t, string(pem)), Selector: "arc1", Domain: "corp.example", Headers: []string{"subject", "received"}},
		map[string]string{"arc1._domainkey.corp.example": record}
}

// TestSealReachesThePrimary: what was sealed at intake holds where it is
// delivered, for us and for another implementation.
func TestSealReachesThePrimary(t *testing.T) {
	t.Parallel()
	server := dnstest.New(t, `sender.example. 60 IN TXT "v=spf1 ip4:127.0.0.0/8 -all"`)
	c, exo := configured(t)
	c.DNS.Servers = []string{server.Listen(t)}
	var zone map[string]string
	c.Auth.ARC, zone = sealingKey(t, server)
	r := run(t, c)
	r.override(health.Down)
	const claim = "Authentication-Results: mx2.corp.example; dmarc=pass header.from=bank.example\r\n"
	if err := r.say(claim + "From: a@sender.example\r\nSubject: x\r\n y\r\n\r\nhello  \r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := r.primaries[0].shown().Override(nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := exo.Await(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	content := got[0].Content
	if !bytes.HasPrefix(content, []byte("ARC-Seal: i=1; a=rsa-sha256; cv=none; d=corp.example; s=arc1; ")) || bytes.Contains(content, []byte("bank")) ||
		!bytes.Contains(content, []byte("\th=from:subject:received:from;")) {
		t.Errorf("the primary got %q", content)
	}
	m, err := arc.Read(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if chain := m.Verify(t.Context(), arc.Options{Resolver: server.Resolver(t), Now: time.Now()}); chain.Status != arc.Pass {
		t.Errorf("%s: %s\n%q", chain.Status, chain.Reason, content)
	}
	if cv := dkimpy(t, content, zone); cv != "pass" {
		t.Errorf("another implementation says %s\n%q", cv, content)
	}
	r.stop()
}

// dkimpy is what another implementation says of the chain of a message.
func dkimpy(t *testing.T, content []byte, zone map[string]string) string {
	t.Helper()
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import dkim, authres").Run() != nil {
		t.Skip("dkimpy is not here: apt-get install python3-dkim python3-authres")
	}
	jobs, err := json.Marshal([]any{map[string]any{"verify": base64.StdEncoding.EncodeToString(content), "zone": zone}})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(python, "auth/arc/testdata/dkimpy.py")
	command.Stdin = bytes.NewReader(jobs)
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []struct{ CV string }
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return answers[0].CV
}

// TestSealerSettings: without a key nothing is sealed; a bad one is no start.
func TestSealerSettings(t *testing.T) {
	c, _ := configured(t)
	if s, err := sealer(c); s != nil || err != nil {
		t.Errorf("%v, %v", s, err)
	}
	good, _ := sealingKey(t, dnstest.New(t))
	c.Auth.ARC = good
	if s, err := sealer(c); s == nil || err != nil {
		t.Errorf("%v, %v", s, err)
	}
	c.Auth.ARC.Key = "/nowhere/key"
	if _, err := Open(Options{Config: c}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "auth.arc: ") {
		t.Errorf("no key: %v", err)
	}
	c.Auth.ARC = good
	c.Auth.ARC.Headers = []string{"arc-seal"}
	if _, err := Open(Options{Config: c}); err == nil || !strings.Contains(err.Error(), "auth.arc: arc-seal must not be signed") {
		t.Errorf("a bad field: %v", err)
	}
}
