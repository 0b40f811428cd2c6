package relay

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/configs"
	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/dns"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// say offers content to a recipient.
func (r *running) say(content string) error {
	c := r.dial()
	defer c.Close()
	if err := envelope(c, "b@corp.example"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(content)); err != nil {
		return err
	}
	return w.Close()
}

// TestAuthentication: verdicts are stored, shown, and written above the content,
// and a field that claims to be ours does not reach the primary. What is stored
// is what came.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	server := dnstest.New(t, `sender.example. 60 IN TXT "v=spf1 ip4:127.0.0.0/8 -all"`, `_dmarc.sender.example. 60 IN TXT "v=DMARC1; p=reject"`,
		`_dmarc.bank.example. 60 IN TXT "v=DMARC1; p=reject"`)
	c, exo := configured(t)
	c.DNS.Servers = []string{server.Listen(t)}
	c.Domains[0].Auth.DMARC = configs.DMARCEnforce
	r := run(t, c)
	r.override(health.Down)
	const claim = "Authentication-Results: mx2.corp.example; dmarc=pass header.from=bank.example\r\n"
	const rest = "From: a@sender.example\r\nMessage-ID: <9@sender.example>\r\n\r\nhello\r\n"
	wantReply(t, r.say("From: x@bank.example\r\n\r\nhello\r\n"), "550 5.7.1 DMARC: bank.example asks for rejection")
	if err := r.say(claim + rest); err != nil {
		t.Fatal(err)
	}
	var id queue.ID
	for m, err := range r.store.Messages(context.Background(), queue.Filter{}) {
		if err != nil || !m.Envelope.Origin.Authenticated() || m.Size != int64(len(claim+rest)) {
			t.Errorf("%+v, %v", m, err)
		}
		id = m.ID
	}
	m, err := r.client.Message(t.Context(), string(id))
	if err != nil || m.Auth == nil || m.Auth.DMARC.Result != "pass" || m.Auth.DMARC.Percent != 100 || m.Auth.Claims != 1 || !m.Auth.ReversePath {
		t.Errorf("shown: %+v, %v", m.Auth, err)
	}
	told := false
	err = r.client.Trace(t.Context(), string(id), 10, func(e admin.Entry) error {
		told = told || e.Event == "accepted" && e.Auth != nil && e.Auth.MailFrom.Result == "pass"
		return nil
	}, func(admin.Message) error { return nil })
	if err != nil || !told {
		t.Errorf("the ledger says nothing: %v", err)
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
	trace, content, _ := strings.Cut(string(got[0].Content), "From:")
	const ours = "Authentication-Results: mx2.corp.example;\r\n\tspf=pass smtp.mailfrom=sender.example;\r\n\tdkim=none;\r\n" +
		"\tdmarc=pass (p=reject) header.from=sender.example\r\nReceived: from "
	if !strings.HasPrefix(trace, ours) || strings.Contains(trace, "bank") || "From:"+content != rest {
		t.Errorf("the primary got %q", got[0].Content)
	}
	r.stop()
}

// TestAuthSettings: what the configuration says of authentication is what the
// intake goes by.
func TestAuthSettings(t *testing.T) {
	c, _ := configured(t)
	c.Auth.ReceivedSPF, c.Auth.Held = configs.Yes, configs.Yes
	c.Domains[0].Auth.DMARC = configs.DMARCEnforce
	o := inboundOptions(c, nil)
	if want := (auth.Rule{Enforce: true, HoldUnauthenticated: true}); !o.Authentication.ReceivedSPF || o.Authentication.Rules["corp.example"] != want {
		t.Errorf("%+v", o.Authentication)
	}
	for id, want := range map[string]string{"": "mx2.corp.example", "auth.corp.example": "auth.corp.example"} {
		c.Auth.ID = id
		if v, err := verifier(c, new(dns.Resolver), nil); err != nil || v.ID() != want {
			t.Errorf("%q: %v, %v", id, v, err)
		}
	}
	c.Auth.ID = "a b"
	if _, err := Open(Options{Config: c}); err == nil || !strings.Contains(err.Error(), "authserv-id") {
		t.Errorf("a bad authserv-id: %v", err)
	}
	c.Auth.Verify = configs.No
	if v, err := verifier(c, nil, nil); v != nil || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}
