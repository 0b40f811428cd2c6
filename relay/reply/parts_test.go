package reply

import (
	"slices"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

func TestTags(t *testing.T) {
	for _, test := range []struct{ rule, text, want string }{
		{"none", "User unknown", ""},
		{"attribution", "try again later ATTR2 [X", "ATTR2"},
		{"attribution with a detail", "ATTR3.4", "ATTR3.4"},
		{"the dot of a sentence is no detail", "see ATTR35. For more", "ATTR35"},
		{"proxy", "[PRX7] CPRX2", "PRX7 CPRX2"},
		{"message rate", "MRH1", "MRH1"},
		{"anti-spam rule", "(S77714) (AS16012611)", "S77714 AS16012611"},
		{"anti-spam rule with its number in brackets", "AS(201806281) AS(345)", "AS201806281 AS345"},
		{"front end", "(SF1) (SF2) (EV1) (TSTE)", "SF1 SF2 EV1 TSTE"},
		{"administrative action", "TRJCT PRJCT. DROP", "TRJCT PRJCT DROP"},
		{"tenant", "TenantAttribution; TenantInboundAttribution;", "TenantAttribution TenantInboundAttribution"},
		{"stages", "STOREDRV.Deliver.Exception:X RESOLVER.RST.AuthRequired; TRANSPORT.RULES.RejectMessage;", "STOREDRV.Deliver.Exception RESOLVER.RST.AuthRequired TRANSPORT.RULES.RejectMessage"},
		{"each once", "ATTR1 ATTR1", "ATTR1"},
		{"not within words", "XATTR1 ATTR1X S123 aDROPb", ""},
		{"at most sixteen", strings.Repeat("ATTR1 ", 15) + "ATTR2 ATTR3", "ATTR1 ATTR2"},
	} {
		if got := tagsOf(test.text); strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q has %q, want %q", test.rule, test.text, got, test.want)
		}
	}
}

func TestBracket(t *testing.T) {
	const text = "451 4.3.2 Temporary server error ATTR2 "
	for _, test := range []struct{ rule, reply, server, time, session string }{
		{"at the end", text + "[A.outlook.com 2026-01-22T20:00:00.1Z 08DE8A01A0B45E1B]", "A.outlook.com", "2026-01-22T20:00:00.1Z", "08DE8A01A0B45E1B"},
		{"without a fraction", text + "[A 2026-01-22T20:00:00Z 08DE8A01A0B45E1B]", "A", "2026-01-22T20:00:00Z", "08DE8A01A0B45E1B"},
		{"the last one is the server's", text + "[B.example 2020-01-01T00:00:00Z 0000000000000000] [A.outlook.com 2026-01-22T20:00:00Z 08DE8A01A0B45E1B]", "A.outlook.com", "2026-01-22T20:00:00Z", "08DE8A01A0B45E1B"},
		{"an IP address is no server", text + "from [192.0.2.25]", "", "", ""},
		{"session of 15 digits", text + "[A 2026-01-22T20:00:00Z 08DE8A01A0B45E1]", "", "", ""},
		{"no time", text + "[A yesterday 08DE8A01A0B45E1B]", "", "", ""},
		{"control bytes in the server", text + "[A\x1b 2026-01-22T20:00:00Z 08DE8A01A0B45E1B]", "", "", ""},
	} {
		v := Classify(health.PhaseRcpt, parse(test.reply))
		if v.Row != 12 || v.Server != test.server || v.Time != test.time || v.Session != test.session {
			t.Errorf("%s: row %d, server %q, time %q, session %q", test.rule, v.Row, v.Server, v.Time, v.Session)
		}
	}
}

func TestAcceptedMessage(t *testing.T) {
	for _, test := range []struct{ rule, text, id, host string }{
		{"number and host", "<a@b> [InternalId=123, Hostname=X.outlook.com] 9 bytes in 0.1, 1 KB/sec Queued mail for delivery", "123", "X.outlook.com"},
		{"older form", "<a@b> [InternalId=123] Queued mail for delivery", "123", ""},
		{"a Message-ID cannot forge it", "<[InternalId=1, Hostname=evil](S1)ATTR2@b> [InternalId=123, Hostname=X.outlook.com] Queued mail for delivery", "123", "X.outlook.com"},
		{"none", "<a@b> Queued mail for delivery", "", ""},
	} {
		v := Classify(health.PhaseFinal, smtp.Reply{Code: 250, Status: smtp.EnhancedStatus{2, 6, 0}, Lines: []string{test.text}})
		if v.Row != 126 || v.Action != Deliver || v.InternalID != test.id || v.Hostname != test.host || v.Tags != nil {
			t.Errorf("%s: %+v", test.rule, v)
		}
	}
	if v := Classify(health.PhaseFinal, parse("550 5.6.0 <[InternalId=1]@b> refused")); v.InternalID != "" {
		t.Errorf("a refused message has the number %q", v.InternalID)
	}
}

// TestSeveralLines: a reply of several lines is read as one text.
func TestSeveralLines(t *testing.T) {
	v := Classify(health.PhaseRcpt, smtp.Reply{Code: 550, Status: smtp.EnhancedStatus{5, 7, 1}, Lines: []string{"Service unavailable, Client host", "blocked", "using Spamhaus" + bracket}})
	if v.Row != 93 || v.Session != "08DCAFC4626DA37A" {
		t.Errorf("%+v", v)
	}
	if v := Classify(health.PhaseRcpt, smtp.Reply{Code: 550}); v.Action != Hold {
		t.Errorf("a reply without text: %+v", v)
	}
}

func TestBannerSession(t *testing.T) {
	const banner = "LN2PEPF000100CA.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready at Mon, 23 Nov 2026 10:00:00 +0000"
	for _, test := range []struct{ rule, text, want string }{
		{"Exchange Online", banner + " [08DE8A01A0B45E1B]", "08DE8A01A0B45E1B"},
		{"space behind it", banner + " [08DE8A01A0B45E1B] ", "08DE8A01A0B45E1B"},
		{"none", banner, ""},
		{"not at the end", "[08DE8A01A0B45E1B] " + banner, ""},
		{"lower case", "x [08de8a01a0b45e1b]", ""},
		{"17 digits", "x [08DE8A01A0B45E1B0]", ""},
		{"Postfix", "mx.example ESMTP Postfix", ""},
	} {
		if got := BannerSession(test.text); got != test.want {
			t.Errorf("%s: %q", test.rule, got)
		}
	}
}

func TestWords(t *testing.T) {
	var words []string
	for _, a := range []Action{Deliver, Retry, Hold, Fail, Split} {
		words = append(words, a.String())
	}
	for _, s := range []Scope{ScopeNone, ScopeUpstream, ScopeOwn, ScopeMessage, ScopeRecipient} {
		words = append(words, s.String())
	}
	want := strings.Fields("deliver retry hold fail split none upstream own message recipient")
	if !slices.Equal(words, want) {
		t.Errorf("%q", words)
	}
}
