package outbound

import (
	"context"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxkeep/mxkeep/health"
)

func TestCanary(t *testing.T) {
	envelope := "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<canary@corp.example>\nS: 250 ok\nC: DATA\nS: 354 go on\n"
	for _, test := range []struct{ name, script, signals string }{
		{"taken", hello() + envelope + "dot\nS: 250 2.6.0 Queued mail for delivery\nC: QUIT\nS: 221 bye", "ok@final"},
		{"not taken at the end", hello() + envelope + "dot\nS: " + attr2 + "\nC: QUIT\nS: 221 bye", "outage@final"},
		{"no such mailbox", hello() + "C: MAIL FROM:<>\nS: 250 ok\nC: RCPT TO:<canary@corp.example>\nS: 550 5.1.1 User unknown\nC: QUIT\nS: 221 bye", "recipient@rcpt"},
		{"no connection", "refuse", "outage@connect"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, test.script)
				got := r.Canary(t.Context(), Canary{Recipient: "canary@corp.example", From: "postmaster@relay.example"})
				if signals(got) != test.signals || got[0].Source != health.SourceCanary || got[0].Upstream != "exo" {
					t.Errorf("%+v, want %s", got, test.signals)
				}
				r.end()
			})
		})
	}
}

func TestACanaryThatIsBrokenOffSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, hello()+"C: MAIL FROM:<>\nhang")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if got := r.Canary(ctx, Canary{Recipient: "canary@corp.example"}); got != nil {
			t.Errorf("%+v", got)
		}
		r.end()
	})
}

// Whoever reads it sees an ordinary message that nobody answers.
func TestContentOfACanary(t *testing.T) {
	now := time.Date(2026, 1, 22, 19, 30, 0, 0, time.UTC)
	c := Canary{Recipient: "canary@corp.example", From: "postmaster@relay.example"}
	text := c.content("relay.example", now)
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	date, err := m.Header.Date()
	if err != nil || !date.Equal(now) || m.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("%s %v", text, err)
	}
	for _, name := range []string{"From", "To"} {
		if list, err := m.Header.AddressList(name); err != nil || len(list) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := mime.ParseMediaType(m.Header.Get("Content-Type")); err != nil {
		t.Error(err)
	}
	if strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") || !strings.HasSuffix(text, "\r\n") || text == c.content("relay.example", now) {
		t.Errorf("%q", text)
	}
}
