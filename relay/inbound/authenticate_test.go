package inbound

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// registry is the DNS of the senders of these tests.
func registry(t testing.TB) *dnstest.Server {
	t.Helper()
	return dnstest.New(t, `far.example. 60 IN TXT "v=spf1 ip4:192.0.2.1 -all"`,
		`_dmarc.far.example. 60 IN TXT "v=DMARC1; p=reject"`, `_dmarc.soft.example. 60 IN TXT "v=DMARC1; p=quarantine"`)
}

func checking(t testing.TB, server *dnstest.Server, rules map[string]auth.Rule) func(*Options) {
	t.Helper()
	v, err := auth.New(auth.Options{ID: "mx2.example", Resolver: server.Resolver(t)})
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.Authentication = Authentication{Verifier: v, Rules: rules} }
}

const claiming = "Authentication-Results: MX2.example; dmarc=pass header.from=bank.example\r\n"

func TestVerdictsAreStored(t *testing.T) {
	for _, way := range []string{"DATA", "BDAT"} {
		t.Run(way, func(t *testing.T) {
			server := registry(t)
			r := newRig(t, func(o *Options) {
				checking(t, server, nil)(o)
				o.Authentication.ReceivedSPF = true
			})
			content := claiming + "From: s@far.example\r\nMessage-ID: <1@far.example>\r\n\r\nbody\r\n"
			w := r.dial("192.0.2.1").hello().envelope()
			if way == "DATA" {
				w.ask("DATA", "354")
				w.say(content + ".\r\n")
			} else {
				w.say(chunked(content, 1000))
			}
			w.want("250 2.0.0 queued as")
			w.close()
			r.finish()
			m := r.messages()[0]
			v := m.Envelope.Origin.Auth
			v.Took = 0
			want := queue.Verdicts{By: "mx2.example", MailFrom: queue.SPF{Result: "pass", Domain: "far.example", Reason: "matched ip"},
				Hello:       queue.SPF{Result: "none", Domain: "client.example", Reason: "no DNS record found"},
				DMARC:       queue.DMARC{Result: "pass", Domain: "far.example", Record: "far.example", Policy: "reject", Reason: "spf is aligned"},
				ARC:         queue.ARC{Result: "none"},
				ReversePath: true, Author: true, Claims: 1}
			if !reflect.DeepEqual(v, want) || !m.Envelope.Origin.Authenticated() || m.Held != "" {
				t.Errorf("verdicts %+v, want %+v; held %q", v, want, m.Held)
			}
			trace, kept := r.content(m.ID)
			if kept != content {
				t.Errorf("content %q", kept)
			}
			const fields = "Authentication-Results: mx2.example;\r\n\tspf=pass smtp.mailfrom=far.example;\r\n\tdkim=none;\r\n\tdmarc=pass (p=reject) header.from=far.example\r\n" +
				"Received-SPF: pass (mx2.example)\r\n\tidentity=mailfrom;\r\n\tclient-ip=192.0.2.1;\r\n\thelo=client.example;\r\n\tenvelope-from=\"s@far.example\";\r\n\treceiver=mx2.example\r\n" +
				"Received: from client.example "
			if !strings.HasPrefix(trace, fields) {
				t.Errorf("trace %q", trace)
			}
			if log := r.log.String(); !strings.Contains(log, `"author":"far.example","dmarc":"pass"`) {
				t.Error(log)
			}
			for e, err := range r.store.Ledger(context.Background(), queue.LedgerFilter{}) {
				if err != nil || e.Event == queue.Accepted && e.Origin.Auth.DMARC.Result != "pass" {
					t.Errorf("ledger: %+v, %v", e, err)
				}
			}
		})
	}
}

func TestRulesOfDomains(t *testing.T) {
	enforce, hold := auth.Rule{Enforce: true}, auth.Rule{HoldUnauthenticated: true}
	rules := map[string]auth.Rule{"d.example": enforce, "e.example": {}}
	fromFar, fromSoft := "From: s@far.example\r\n\r\n", "From: s@soft.example\r\n\r\n"
	for _, c := range []struct {
		name, client, to, content string
		rules                     map[string]auth.Rule
		reply, held               string
	}{
		{"passes", "192.0.2.1", "a@d.example", fromFar, rules, "250", ""},
		{"reject", "192.0.2.2", "a@d.example", fromFar, rules, "550 5.7.1 DMARC: far.example asks for rejection", ""},
		{"reject, in capitals", "192.0.2.2", "A@D.EXAMPLE", fromFar, rules, "550 5.7.1", ""},
		{"reject, observed", "192.0.2.2", "a@e.example", fromFar, rules, "250", ""},
		{"reject, no rules", "192.0.2.2", "a@d.example", fromFar, nil, "250", ""},
		{"reject, of two domains one observes", "192.0.2.2", "a@d.example a@e.example", fromFar, rules, "250", "asks for rejection"},
		{"quarantine", "192.0.2.2", "a@d.example", fromSoft, rules, "250", "DMARC: soft.example asks for quarantine"},
		{"two From", "192.0.2.1", "a@d.example", "From: x@bank.example\r\n" + fromFar, rules, "550 5.7.1 DMARC: the message has more than one From", ""},
		{"unauthenticated", "192.0.2.2", "a@d.example", "From: s@none.example\r\n\r\n", map[string]auth.Rule{"d.example": hold}, "250", "unauthenticated: "},
		{"authenticated", "192.0.2.1", "a@d.example", fromFar, map[string]auth.Rule{"d.example": hold}, "250", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, checking(t, registry(t), c.rules))
			w := r.dial(c.client).hello()
			w.ask("MAIL FROM:<s@far.example>", "250")
			for _, to := range strings.Fields(c.to) {
				w.ask("RCPT TO:<"+to+">", "250")
			}
			w.ask("DATA", "354")
			w.say(c.content + "body\r\n.\r\n")
			w.want(c.reply)
			w.ask("NOOP", "250") // the session goes on in step
			w.close()
			r.finish()
			kept := r.messages()
			if c.reply != "250" {
				if len(kept) != 0 || r.server.Stats().Refused[reasonDMARC] != 1 {
					t.Errorf("%d messages, %+v", len(kept), r.server.Stats().Refused)
				}
				return
			}
			if len(kept) != 1 || !strings.Contains(kept[0].Held, c.held) || (kept[0].Held == "") != (c.held == "") {
				t.Errorf("%+v", kept)
			}
		})
	}
}

// TestVerdictsInTime: a DNS that is silent makes the sender wait for at most 5 seconds,
// and the mail is ours.
func TestVerdictsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := registry(t)
		server.Trouble("", dnstest.Silent)
		r := newRig(t, checking(t, server, map[string]auth.Rule{"d.example": {Enforce: true, HoldUnauthenticated: true}}))
		w := r.dial("192.0.2.2").hello().envelope()
		w.ask("DATA", "354")
		began := time.Now()
		w.say("From: s@far.example\r\n\r\nbody\r\n.\r\n")
		w.want("250")
		if took := time.Since(began); took > 5*time.Second || took < 4*time.Second {
			t.Errorf("took %v", took)
		}
		w.close()
		r.finish()
		m := r.messages()[0]
		if v := m.Envelope.Origin.Auth; v.MailFrom.Result != "temperror" || v.DMARC.Result != "temperror" || !v.Unknown || m.Held != "" {
			t.Errorf("%+v, held %q", v, m.Held)
		}
	})
}

// unreadable is a store whose drafts cannot be read.
type unreadable struct{ *queuetest.Memory }

func (u unreadable) Create(ctx context.Context) (queue.Draft, error) {
	d, err := u.Memory.Create(ctx)
	return unreadableDraft{d}, err
}

type unreadableDraft struct{ queue.Draft }

func (unreadableDraft) Content() (io.ReadCloser, error) { return nil, errDisk }

// TestDraftThatCannotBeRead: what cannot be read cannot be trusted to be kept.
func TestDraftThatCannotBeRead(t *testing.T) {
	r := newRig(t, func(o *Options) {
		checking(t, registry(t), nil)(o)
		o.Store = unreadable{o.Store.(*queuetest.Memory)}
	})
	w := r.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say(note + ".\r\n")
	w.want("451")
	w.close()
	if err := r.end(); !errors.Is(err, errDisk) {
		t.Errorf("Serve: %v", err)
	}
	if n := len(r.messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestPassedWithoutClaims: fields that claim to be ours do not reach the
// primary; nothing else is verified or changed while the sender waits.
func TestPassedWithoutClaims(t *testing.T) {
	server := registry(t)
	g := front(t, checking(t, server, map[string]auth.Rule{"d.example": {Enforce: true}}), begin+agreed+`
		content
		S: 250 2.6.0 taken
		C: MAIL FROM:<s@far.example>
		C: RCPT TO:<a@d.example>
		S: 250 2.1.0 ok
		S: 250 2.1.5 ok
		C: DATA
		S: 354 go ahead
		content
		S: 250 2.6.0 taken`)
	w := g.dial("192.0.2.2").hello()
	for _, content := range []string{claiming + "From: s@far.example\r\n" + claiming + "\r\n" + claiming, "From: s@far.example\r\n"} {
		w.envelope().ask("DATA", "354")
		w.say(content + ".\r\n")
		w.want("250 2.6.0 taken")
	}
	w.close()
	g.over()
	for i, want := range []string{"From: s@far.example\r\n\r\n" + claiming, "From: s@far.example\r\n"} {
		trace, content, _ := strings.Cut(g.contents[i], "From:")
		if !strings.HasPrefix(trace, "Received: from client.example") || "From:"+content != want {
			t.Errorf("the primary got %q", g.contents[i])
		}
	}
	e := g.entries()
	if e[0].Origin.Auth.Claims != 2 || e[0].Origin.Auth.By != "mx2.example" || !e[1].Origin.Auth.IsZero() {
		t.Errorf("ledger: %+v", e)
	}
	if asked := server.Asked(); len(asked) != 0 {
		t.Errorf("asked %q", asked)
	}
}

// TestFailedPassageHasVerdicts: when the primary fails and the mail is ours, so
// are the verdicts. What the primary may have is not refused.
func TestFailedPassageHasVerdicts(t *testing.T) {
	for client, held := range map[string]string{"192.0.2.1": "", "192.0.2.2": "asks for rejection"} {
		g := front(t, checking(t, registry(t), map[string]auth.Rule{"d.example": {Enforce: true}}), begin+agreed+"\ncontent\ncut")
		w := g.dial(client).hello().envelope()
		w.ask("DATA", "354")
		w.say(claiming + "From: s@far.example\r\n\r\nbody\r\n.\r\n")
		w.want("250 2.0.0 queued as")
		w.close()
		g.over()
		m := g.messages()[0]
		v := m.Envelope.Origin.Auth
		if v.Claims != 1 || v.DMARC.Domain != "far.example" || !strings.Contains(m.Held, held) || (m.Held == "") != (held == "") || m.Envelope.Origin.Reason != reasonPassFailed {
			t.Errorf("%+v, held %q, %+v", v, m.Held, m.Envelope.Origin)
		}
		trace, content := g.content(m.ID)
		if !strings.HasPrefix(trace, "Authentication-Results: mx2.example;") || !strings.HasPrefix(content, claiming) {
			t.Errorf("%q%q", trace, content)
		}
	}
}

// TestDraftOfPassageThatCannotBeRead: neither the primary nor we have it.
func TestDraftOfPassageThatCannotBeRead(t *testing.T) {
	g := front(t, func(o *Options) {
		checking(t, registry(t), nil)(o)
		o.Store = unreadable{o.Store.(*queuetest.Memory)}
	}, begin+agreed+"\ncontent\ncut")
	w := g.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say(note + ".\r\n")
	w.want("451")
	w.close()
	if err := g.end(); !errors.Is(err, errDisk) {
		t.Errorf("Serve: %v", err)
	}
	g.upstream.Close()
	g.talks.Wait()
	if n := len(g.messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestStored(t *testing.T) {
	for percent, want := range map[int]int{100: 0, 0: -1, 50: 50} {
		if got := stored(auth.Verdicts{DMARC: auth.DMARC{Record: "x.example", Percent: percent}}).DMARC.Percent; got != want {
			t.Errorf("pct %d is stored as %d, want %d", percent, got, want)
		}
	}
	if got := stored(auth.Verdicts{}).DMARC.Percent; got != 0 {
		t.Errorf("no policy is stored with pct %d", got)
	}
	if got := stored(auth.Verdicts{DKIM: []auth.Signature{{Result: "pass", Domain: "a.example"}}}).DKIM; len(got) != 1 || got[0].Domain != "a.example" {
		t.Errorf("%+v", got)
	}
}
