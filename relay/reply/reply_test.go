package reply

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

const bracket = " [BN2PEPF00004FBF.namprd04.prod.outlook.com 2024-07-31T21:10:49.094Z 08DCAFC4626DA37A]"

// parse reads a reply of one line, "451 4.3.2 text" or "451 text".
func parse(text string) smtp.Reply { return parseReply(text[:3], strings.TrimPrefix(text[3:], " ")) }

// summary is what a verdict decides, as the tables of these tests write it.
func summary(v Verdict) string {
	s := fmt.Sprintf("%v %v %v", v.Class, v.Action, v.Scope)
	if v.Low {
		s += " low"
	}
	if v.Slow != 0 {
		s += " after " + v.Slow.String()
	}
	if v.Condition != "" {
		s += fmt.Sprintf(", %v if %s", v.Then, v.Condition)
	}
	return s
}

func TestEveryRow(t *testing.T) {
	for _, test := range exchange {
		v := Classify(test.phase, parse(test.reply+bracket))
		if v.Row != test.row || summary(v) != test.want || strings.Join(v.Tags, " ") != test.tags {
			t.Errorf("%s: %s\nis row %d, %s, tags %q\nwant   %d, %s, tags %q",
				test.phase, test.reply, v.Row, summary(v), v.Tags, test.row, test.want, test.tags)
		}
		if v.Server != "BN2PEPF00004FBF.namprd04.prod.outlook.com" || v.Time != "2024-07-31T21:10:49.094Z" || v.Session != "08DCAFC4626DA37A" {
			t.Errorf("%s: server %q, time %q, session %q", test.reply, v.Server, v.Time, v.Session)
		}
	}
}

// servers: what Postfix, Exim, sendmail and others say, and what nobody knows.
var servers = []struct {
	rule  string
	row   int
	phase health.Phase
	reply string
	want  string
}{
	{"421 at the greeting", 0, "banner", "421 mx.example closing down", "outage retry upstream"},
	{"421 to EHLO", 0, "hello", "421 4.4.5 try later", "outage retry upstream"},
	{"system trouble at the greeting", 0, "banner", "421 4.3.0 mx.example busy", "outage retry upstream"},
	{"4xx to EHLO says nothing of a message", 0, "hello", "450 4.7.9 go away for now", "outage retry upstream"},
	{"no TLS for now", 0, "tls", "454 4.7.0 TLS not available due to local problem", "outage retry upstream"},
	{"system trouble to EHLO", 0, "hello", "451 4.3.0 lookup failure", "outage retry upstream"},
	{"421 in a transaction", 0, "rcpt", "421 closing", "outage retry message low"},
	{"system trouble in a transaction", 0, "rcpt", "451 4.3.0 <a@d.example>: Temporary lookup failure", "outage retry message low"},
	{"system trouble after the content may be the content's", 0, "final", "451 4.3.0 Error: queue file write error", "outage retry message low"},
	{"no space", 47, "mail", "452 4.3.1 Insufficient system storage", "outage retry upstream"},
	{"421 of policy is throttling", 0, "banner", "421 4.7.0 mx.example Error: too many connections from 192.0.2.25", "throttle retry own"},
	{"rate limit without an enhanced code", 0, "mail", "450 Rate limit exceeded", "throttle retry own"},
	{"greylisting", 0, "rcpt", "450 4.2.0 <a@d.example>: Recipient address rejected: Greylisted", "temporary retry message low"},
	{"unverified recipient", 0, "rcpt", "450 4.1.1 <a@d.example>: unverified address", "temporary retry message low"},
	{"unknown 4xx", 0, "final", "451 4.9.9 what is this", "temporary retry message low"},
	{"unknown 4xx without an enhanced code", 0, "mail", "450 later", "temporary retry message low"},
	{"unknown tag, known text", 0, "rcpt", "451 4.4.3 Temporary server error. Please try again later ATTR99", "outage retry message low"},
	{"too many recipients without an enhanced code", 0, "rcpt", "452 Too many recipients", "temporary split message"},
	{"RFC 5321 4.5.3.1.10: 552 for too many recipients is 452", 0, "rcpt", "552 Too many recipients", "temporary split message"},
	{"relaying refused for now", 0, "rcpt", "454 4.7.1 <a@d.example>: Relay access denied", "misconfigured retry own"},
	{"relaying refused by Postfix", 117, "rcpt", "554 5.7.1 <a@d.example>: Relay access denied", "misconfigured hold own"},
	{"relaying refused by sendmail", 0, "rcpt", "550 5.7.1 <a@d.example>... Relaying denied", "misconfigured hold own"},
	{"relaying refused by Exim", 0, "rcpt", "550 relay not permitted", "misconfigured hold own"},
	{"listed by a block list", 93, "rcpt", "554 5.7.1 Service unavailable; Client host [192.0.2.25] blocked using bl.example", "throttle hold own"},
	{"unknown user of Postfix", 82, "rcpt", "550 5.1.1 <a@d.example>: Recipient address rejected: User unknown in virtual mailbox table", "recipient fail recipient"},
	{"unknown user without an enhanced code", 0, "rcpt", "550 Unknown user", "recipient fail recipient"},
	{"unknown recipient without an enhanced code", 0, "rcpt", "550 recipient unknown", "recipient fail recipient"},
	{"unknown user of qmail", 0, "rcpt", "553 sorry, no mailbox here by that name. (#5.1.1)", "recipient fail recipient"},
	{"the sender's unknown user is not the recipient", 0, "rcpt", "550 User unknown; Sender verify failed", "policy hold message"},
	{"unknown user counts at RCPT only", 0, "mail", "550 User unknown", "policy hold message"},
	{"unknown user with the code of a policy", 0, "rcpt", "550 5.7.1 User unknown", "policy hold message"},
	{"5.1.1 to MAIL is not about the recipient", 0, "mail", "550 5.1.1 unknown", "policy hold message"},
	{"5.1.1 to EHLO is not about a recipient", 0, "hello", "550 5.1.1 unknown", "misconfigured hold own"},
	{"mailbox full", 86, "rcpt", "552 5.2.2 Over quota", "recipient fail recipient"},
	{"rejected", 0, "final", "554 5.7.1 rejected", "policy hold message"},
	{"unknown 5xx", 0, "final", "550 5.9.9 what is this", "policy hold message"},
	{"unknown 5xx without an enhanced code", 0, "rcpt", "550 no", "policy hold message"},
	{"refused at the greeting", 0, "banner", "554 No SMTP service here", "misconfigured hold own"},
	{"no EHLO", 124, "hello", "502 unimplemented", "misconfigured hold own"},
	{"an echo of an earlier refusal", 124, "data", "503 need RCPT", "misconfigured hold own"},
	{"no encryption", 119, "mail", "530 5.7.0 Must issue a STARTTLS command first", "misconfigured hold own"},
	{"RSET refused", 0, "reset", "550 no", "misconfigured hold own"},
	{"too big", 92, "final", "552 5.3.4 Message too big", "policy fail message"},
	{"2xx", 0, "rcpt", "250 2.1.5 OK", "ok deliver none"},
	{"2xx without an enhanced code", 0, "final", "250 OK id=1", "ok deliver none"},
	{"row 126 is about the end of the data", 0, "rcpt", "250 2.6.0 Queued mail for delivery", "ok deliver none"},
	{"go on", 0, "data", "354 go ahead", "ok deliver none"},
	{"250 to DATA is out of step", 0, "data", "250 OK", "temporary retry message low"},
	{"354 after the dot is out of step", 0, "final", "354 go ahead", "temporary retry message low"},
	{"no SMTP code", 0, "rcpt", "199 what", "temporary retry message low"},
	{"no SMTP code, high", 0, "rcpt", "600 what", "temporary retry message low"},
	{"unknown phase", 0, "", "550 5.1.1 unknown", "policy hold message"},

	{"mixed: 451 with a code of an unknown user", 0, "rcpt", "451 5.1.1 unknown", "temporary hold message low"},
	{"mixed: 451 with a code of class 2", 0, "rcpt", "451 2.1.1 unknown", "temporary hold message low"},
	{"mixed: 550 with the signature of an outage", 0, "rcpt", "550 4.3.2 Temporary server error. Please try again later ATTR2", "policy hold message"},
	{"mixed: 550 with an unknown 4.x", 0, "final", "550 4.4.4 no", "policy hold message"},
	{"mixed: unknown user in the text", 0, "rcpt", "550 4.1.1 User unknown", "policy hold message"},
	{"mixed: 452 of class 5", 0, "rcpt", "452 5.5.3 Too many recipients", "temporary hold message"},
	{"mixed: 421 to EHLO", 0, "hello", "421 5.3.2 closing", "outage hold upstream"},
	{"2xx is never mixed", 0, "final", "250 5.0.0 OK", "ok deliver none"},

	{"a front end quotes a refusal of the recipient", 45, "rcpt", `550 5.7.0 Proxy session setup failed on Frontend with "550 5.1.10 RESOLVER.ADR.RecipientNotFound"`, "recipient fail recipient"},
	{"a front end quotes a mistake of ours", 45, "mail", `550 5.7.0 Proxy session setup failed on Frontend with "550 5.7.64 TenantAttribution; Relay Access Denied"`, "misconfigured hold own"},
	{"a front end quotes what is temporary", 45, "mail", `550 5.7.0 Proxy session setup failed on Frontend with "451 4.4.0 DNS query failed"`, "outage hold upstream"},
	{"a front end quotes a mixed code", 45, "rcpt", `550 5.7.0 Proxy session setup failed on Frontend with "550 4.4.4 no"`, "policy hold message"},
	{"a front end quotes an acceptance", 45, "mail", `550 5.7.0 Proxy session setup failed on Frontend with "250 2.0.0 OK"`, "policy hold message"},
	{"a front end quotes itself", 45, "mail", `550 5.7.0 Proxy session setup failed on Frontend with "550 5.7.0 Proxy session setup failed on Frontend with x"`, "policy hold message"},
	{"mixed: a front end whose own code contradicts itself", 45, "rcpt", `550 4.7.0 Proxy session setup failed on Frontend with "550 5.1.1 User unknown"`, "recipient hold recipient"},
}

func TestServersInGeneral(t *testing.T) {
	for _, test := range servers {
		v := Classify(test.phase, parse(test.reply))
		if v.Row != test.row || summary(v) != test.want {
			t.Errorf("%s: %s: %s\nis row %d, %s\nwant   %d, %s", test.rule, test.phase, test.reply, v.Row, summary(v), test.row, test.want)
		}
		if v.Server != "" || v.Session != "" || v.Time != "" {
			t.Errorf("%s: server %q, time %q, session %q out of nothing", test.rule, v.Server, v.Time, v.Session)
		}
	}
}

var broken = []struct {
	rule    string
	row     int
	phase   health.Phase
	failure Failure
	want    string
}{
	{"no address of the primary", 1, "resolve", NotResolved, "outage retry upstream"},
	{"connection refused", 2, "connect", Refused, "outage retry upstream"},
	{"connection timed out", 2, "connect", TimedOut, "outage retry upstream"},
	{"no greeting", 2, "banner", TimedOut, "outage retry upstream"},
	{"reset within the handshake", 2, "tls", Reset, "outage retry upstream"},
	{"reset in a transaction may be the message's", 2, "rcpt", Reset, "outage retry message low"},
	{"time-out at DATA", 2, "data", TimedOut, "outage retry message low"},
	{"connection lost after the dot", 2, "final", Reset, "outage retry message low"},
	{"we have reached ourselves", 0, "hello", Ourselves, "misconfigured retry own"},
	{"certificate does not match", 3, "tls", TLSFailed, "misconfigured retry own, outage if all_front_ends"},
	{"a refusal in mid-session makes no sense", 0, "rcpt", Refused, "temporary retry message low"},
	{"unknown failure", 0, "connect", "fire", "temporary retry message low"},
	{"no failure", 0, "connect", "", "temporary retry message low"},
}

func TestClassifyError(t *testing.T) {
	for _, test := range broken {
		if v := ClassifyError(test.phase, test.failure); v.Row != test.row || summary(v) != test.want {
			t.Errorf("%s: is row %d, %s; want %d, %s", test.rule, v.Row, summary(v), test.row, test.want)
		}
	}
	if a, b := ClassifyError(health.PhaseData, Reset).Advice, ClassifyError(health.PhaseFinal, Reset).Advice; !strings.Contains(b, "duplicate") || a == b {
		t.Errorf("a connection lost after the dot does not warn of a duplicate: %q", b)
	}
}

// TestRanges walks over the edges of every range.
func TestRanges(t *testing.T) {
	for _, test := range []struct {
		reply string
		row   int
	}{
		{"451 4.7.499 x", 0}, {"451 4.7.500 x", 61}, {"451 4.7.501 x", 62}, {"451 4.7.649 x", 62}, {"451 4.7.650 x", 63}, {"451 4.7.651 x", 63},
		{"451 4.7.652 x", 64}, {"451 4.7.653 x", 62}, {"451 4.7.699 x", 62}, {"451 4.7.700 x", 65}, {"451 4.7.701 x", 0},
		{"451 4.7.849 x", 0}, {"451 4.7.850 x", 66}, {"451 4.7.899 x", 66}, {"451 4.7.900 x", 0},
		{"550 5.7.500 x", 0}, {"550 5.7.501 x", 101}, {"550 5.7.502 x", 101}, {"550 5.7.503 x", 101}, {"550 5.7.504 x", 84}, {"550 5.7.505 x", 84}, {"550 5.7.506 x", 102},
		{"550 5.7.605 x", 0}, {"550 5.7.606 x", 97}, {"554 5.7.649 x", 97}, {"550 5.7.650 x", 0},
		{"550 5.7.899 x", 0}, {"550 5.7.900 x", 107}, {"550 5.7.999 x", 107},
		{"550 5.7.11 x", 0}, {"550 5.7.12 x", 90}, {"550 5.7.13 x", 90}, {"550 5.7.14 x", 0}, {"550 5.7.124 x", 90}, {"550 5.7.129 x", 90},
		{"550 5.7.132 x", 0}, {"550 5.7.133 x", 90}, {"550 5.7.136 x", 90}, {"550 5.7.137 x", 0}, {"550 5.7.193 x", 90},
		{"451 4.4.21 x", 0}, {"451 4.4.22 x", 50}, {"451 4.4.23 x", 0}, {"451 4.4.24 x", 50}, {"451 4.4.25 x", 50}, {"451 4.4.26 x", 0}, {"451 4.4.28 x", 50},
		{"499 4.3.111 x", 51}, {"500 5.5.1 x", 124}, {"503 5.5.999 x", 124}, {"504 5.5.1 x", 0}, {"501 5.5.4 x", 123}, {"501 5.5.3 x", 124},
		{"499 4.7.500 x", 61}, {"599 5.7.606 x", 97},
	} {
		if v := Classify(health.PhaseRcpt, parse(test.reply)); v.Row != test.row {
			t.Errorf("%s: row %d, want %d", test.reply, v.Row, test.row)
		}
	}
}

// TestEveryLineCounts: each line of the table decides at least one case, so
// none is dead and none is untested.
func TestEveryLineCounts(t *testing.T) {
	decided := map[string]bool{}
	note := func(q question) {
		if l, ok := standing().best(q); ok {
			decided[l.source] = true
		}
	}
	for _, test := range exchange {
		note(ask(test.phase, parse(test.reply)))
	}
	for _, test := range servers {
		note(ask(test.phase, parse(test.reply)))
	}
	for _, test := range broken {
		note(question{phase: test.phase, failure: test.failure})
	}
	covered := map[int]bool{}
	for _, l := range standing() {
		covered[l.verdict.Row] = true
		if !decided[l.source] {
			t.Errorf("no case is decided by %q", strings.Join(strings.Fields(l.source), " "))
		}
	}
	for row := range lastRow + 1 {
		if !covered[row] {
			t.Errorf("row %d has no line", row)
		}
	}
}

// TestTableKeepsItsPromises reads the table as a reviewer would.
func TestTableKeepsItsPromises(t *testing.T) {
	conditions := map[int]string{3: "all_front_ends", 24: "one_domain", 61: "second_source", 103: "dmarc_passed", 104: "dmarc_passed", 105: "dmarc_passed"}
	slow := map[int]time.Duration{71: time.Hour, 72: time.Hour}
	fails := map[int]bool{}
	for _, l := range standing() {
		v := l.verdict
		if v.Condition != conditions[v.Row] || v.Slow != slow[v.Row] {
			t.Errorf("row %d: condition %q, slow %v", v.Row, v.Condition, v.Slow)
		}
		if v.Low && v.Class == health.Outage && v.Scope != ScopeMessage {
			t.Errorf("row %d: weak evidence would cost the message no attempt", v.Row)
		}
		if v.Action != Deliver && v.Action != Fail && v.Advice == "" {
			t.Errorf("row %d: no advice", v.Row)
		}
		for _, s := range l.codes {
			if positive := s.from < 400; positive != (v.Class == health.OK) || positive != (v.Action == Deliver) {
				t.Errorf("row %d: code %v is %v, %v", v.Row, s, v.Class, v.Action)
			}
		}
		if v.Action != Fail {
			continue
		}
		fails[v.Row] = true
		if v.Class != health.Recipient && v.Class != health.Policy {
			t.Errorf("row %d fails though it is %v", v.Row, v.Class)
		}
		early := []health.Phase{health.PhaseBanner, health.PhaseHello, health.PhaseTLS, health.PhaseReset}
		if len(l.phases) == 0 || slices.ContainsFunc(l.phases, func(p health.Phase) bool { return slices.Contains(early, p) }) {
			t.Errorf("row %d fails before a message was named", v.Row)
		}
		if v.Class == health.Recipient && slices.Contains(l.phases, health.PhaseMail) {
			t.Errorf("row %d blames a recipient before one was named", v.Row)
		}
	}
	for row := range lastRow + 1 {
		recipients := row >= 78 && row <= 88 && row != 80
		bounces := row >= 90 && row <= 92 || row == 107
		if fails[row] != (recipients || bounces || row == 0) {
			t.Errorf("row %d: fails is %v", row, fails[row])
		}
	}
}

// TestOrderOfLinesMeansNothing shuffles the table.
func TestOrderOfLinesMeansNothing(t *testing.T) {
	for seed := range uint64(20) {
		shuffled := slices.Clone(standing())
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for _, test := range exchange {
			if v := shuffled.classify(test.phase, parse(test.reply)); v.Row != test.row || summary(v) != test.want {
				t.Fatalf("seed %d: %s: row %d, %s", seed, test.reply, v.Row, summary(v))
			}
		}
		for _, test := range servers {
			if v := shuffled.classify(test.phase, parse(test.reply)); v.Row != test.row || summary(v) != test.want {
				t.Fatalf("seed %d: %s: row %d, %s", seed, test.rule, v.Row, summary(v))
			}
		}
		for _, test := range broken {
			if v := shuffled.classifyError(test.phase, test.failure); v.Row != test.row || summary(v) != test.want {
				t.Fatalf("seed %d: %s: row %d, %s", seed, test.rule, v.Row, summary(v))
			}
		}
	}
}

// TestMoreSpecificLineCounts: one criterion of the rank at a time, and a tie.
func TestMoreSpecificLineCounts(t *testing.T) {
	for _, test := range []struct{ rule, loser, winner string }{
		{"a range of enhanced codes before none", "| 2 | 451 | | ATTR2 | server error | rcpt |", "| 1 | 4xx | 4.3.x | | | |"},
		{"an enhanced code before a range", "| 2 | 451 | 4.3.1-3 | ATTR2 | server error | rcpt |", "| 1 | 4xx | 4.3.2 | | | |"},
		{"the narrowest of a list", "| 2 | 451 | 4.3.2-3 | ATTR2 | | |", "| 1 | 4xx | 4.3.x, 4.3.2 | | | |"},
		{"a basic code before a range", "| 2 | 4xx | 4.3.2 | ATTR2 | server error | rcpt |", "| 1 | 451 | 4.3.2 | | | |"},
		{"a tag before a text", "| 2 | 451 | 4.3.2 | | temporary server error | rcpt |", "| 1 | 451 | 4.3.2 | ATTR2 | | |"},
		{"a tag before its family", "| 2 | 451 | 4.3.2 | ATTR* | temporary server error | rcpt |", "| 1 | 451 | 4.3.2 | ATTR2 | | |"},
		{"a longer text", "| 2 | 451 | 4.3.2 | | server | rcpt |", "| 1 | 451 | 4.3.2 | | server error / server | |"},
		{"fewer phases", "| 2 | 451 | 4.3.2 | | | mail rcpt |", "| 1 | 451 | 4.3.2 | | | rcpt |"},
		{"a phase before none", "| 2 | 451 | 4.3.2 | | | |", "| 1 | 451 | 4.3.2 | | | mail rcpt |"},
		{"a tie is broken by the line itself", "| 2 | 451 | 4.3.2 | | temporary | |", "| 1 | 451 | 4.3.2 | | try again | |"},
	} {
		for _, order := range [][2]string{{test.loser, test.winner}, {test.winner, test.loser}} {
			c, err := read(table(order[0]+rest, order[1]+rest))
			if err != nil {
				t.Fatalf("%s: %v", test.rule, err)
			}
			if v := c.classify(health.PhaseRcpt, parse("451 4.3.2 Temporary server error. Please try again later ATTR2")); v.Row != 1 {
				t.Errorf("%s: row %d", test.rule, v.Row)
			}
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	replies := make([]smtp.Reply, len(exchange))
	for i, test := range exchange {
		replies[i] = parse(test.reply + bracket)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := i % len(replies)
		Classify(exchange[k].phase, replies[k])
	}
}

// FuzzClassify: no reply brings it down, makes a bounce of what is not
// permanent, or holds back what was accepted.
func FuzzClassify(f *testing.F) {
	for i := 0; i < len(exchange); i += 9 {
		r := parse(exchange[i].reply + bracket)
		f.Add(string(exchange[i].phase), r.Code, r.Status[0], r.Status[1], r.Status[2], r.Text())
	}
	for i := 0; i < len(servers); i += 5 {
		r := parse(servers[i].reply)
		f.Add(string(servers[i].phase), r.Code, r.Status[0], r.Status[1], r.Status[2], r.Text())
	}
	f.Fuzz(func(t *testing.T, phase string, code, class, subject, detail int, text string) {
		r := smtp.Reply{Code: code, Status: smtp.EnhancedStatus{class, subject, detail}, Lines: []string{text}}
		v := Classify(health.Phase(phase), r)
		switch {
		case code/100 == 2 && (v.Action == Fail || v.Action == Hold || v.Class > health.OK && v.Class != health.Temporary):
			t.Fatalf("%v at %q: %s", r, phase, summary(v))
		case code/100 == 4 && (v.Action == Fail || v.Action == Deliver):
			t.Fatalf("%v at %q: %s", r, phase, summary(v))
		case code/100 == 5 && v.Action == Deliver:
			t.Fatalf("%v at %q: %s", r, phase, summary(v))
		case (code < 200 || code > 599) && summary(v) != "temporary retry message low":
			t.Fatalf("%v at %q: %s", r, phase, summary(v))
		case contradicts(r) && v.Action != Hold:
			t.Fatalf("mixed %v at %q: %s", r, phase, summary(v))
		case v.Action == Fail && (v.Class != health.Recipient && v.Class != health.Policy || phase == "hello" || phase == "banner"):
			t.Fatalf("%v at %q: %s", r, phase, summary(v))
		case (v.Class == health.OK) != (v.Action == Deliver):
			t.Fatalf("%v at %q: %s", r, phase, summary(v))
		}
		if v.Row < 0 || v.Row > lastRow || len(v.Tags) > maxTags || len(v.Server) > 255 || len(v.Session) > 16 || len(v.Hostname) > 255 {
			t.Fatalf("%v at %q: %+v", r, phase, v)
		}
		for _, word := range append([]string{v.Server, v.Time, v.Session, v.InternalID, v.Hostname, BannerSession(text)}, v.Tags...) {
			if len(word) > 300 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Fatalf("%v: unsafe %q", r, word)
			}
		}
	})
}
