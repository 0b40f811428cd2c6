package outbound

import (
	"strings"
	"testing"
	"testing/synctest"
)

// TestPassageKeepsRequireTLS: the primary hears REQUIRETLS, or nothing of the
// message: a sender that asks for it is told so.
func TestPassageKeepsRequireTLS(t *testing.T) {
	const refused = "550 5.7.30 the message needs REQUIRETLS, "
	for _, test := range []struct {
		name, keyword string
		policy        TLSPolicy
		want          string
	}{
		{"offered within TLS, by the right name", "REQUIRETLS", TLSRequired, ""},
		{"not offered", "DSN", TLSRequired, refused + "which the primary does not offer"},
		{"offered by anybody", "REQUIRETLS", TLSOpportunistic, refused + "and the primary's certificate is not verified"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := hello("STARTTLS", "REQUIRETLS") + startTLS + "tls\n" + ehlo("PIPELINING", test.keyword)
				if test.want == "" {
					script += strings.Replace(toOne, "x.example>", "x.example> REQUIRETLS", 1) + taken
				}
				r := newRig(t, secure(test.policy), script)
				o := opening("b@corp.example")
				o.Envelope.Params.RequireTLS = true
				p, a := r.Open(t.Context(), o)
				if test.want != "" {
					if p != nil || a.Outcome != Declined || a.Reply.Error() != test.want || len(a.Signals) != 0 {
						t.Errorf("%+v", a)
					}
				} else if p == nil {
					t.Errorf("%+v", a)
				} else {
					p.Data(t.Context())
					p.Send([]byte(text))
					if a := p.Finish(); a.Outcome != Agreed {
						t.Errorf("%+v", a)
					}
				}
				r.end()
			})
		})
	}
}

// TestRequireTLSIsNotOffered: a delivery whose primary has given the extension up
// is kept as refused, and nothing of the message is sent.
func TestRequireTLSIsNotOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := message("b@corp.example")
		m.Envelope.Params.RequireTLS = true
		r := newRig(t, secure(TLSRequired), hello("STARTTLS")+startTLS+"tls\n"+ehlo("PIPELINING"))
		report := r.deliver(m)
		if got := results(report); got != "refused/message" || report.Results[0].Reply.Text != "the message needs REQUIRETLS, which the primary does not offer" {
			t.Errorf("%s, %+v", got, report.Results[0])
		}
		r.end()
	})
}
