package auth

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

func TestReadRecord(t *testing.T) {
	for text, want := range map[string]string{
		"v=DMARC1; p=reject":                                 "reject   100",
		"v=DMARC1;p=none;sp=quarantine;np=reject;pct=50":     "none quarantine reject 50",
		"v=DMARC1; p=Reject; adkim=S; aspf=s":                "reject   100 dkim spf",
		"v=DMARC1; p=reject; adkim=r; aspf=x":                "reject   100",
		" v = DMARC1 ; p = quarantine ;":                     "quarantine   100",
		"v=DMARC1; p=reject; ri=0; rf=iodef; fo=9; new=1; x": "reject   100", // the library refuses these
		"v=DMARC1; p=reject; pct=101":                        "reject   100",
		"v=DMARC1; p=reject; pct=-1":                         "reject   100",
		"v=DMARC1; p=reject; pct=0":                          "reject   0",
		"v=DMARC1; p=reject; pct=much":                       "reject   100",
		"v=DMARC1; rua=mailto:d@x.example":                   "none   100", // RFC 7489 6.6.3
		"v=DMARC1; p=all; sp=reject; rua=mailto:d@x.example": "none   100",
		"v=DMARC1; p=reject; sp=all; rua=mailto:d@x.example": "none   100",
		"v=DMARC1; p=reject; sp=all":                         "no",
		"v=DMARC1; p=all":                                    "no",
		"v=DMARC1":                                           "no",
		"v=DMARC1; rua=nobody":                               "no",
		"v=dmarc1; p=reject":                                 "no",
		"v=DMARC2; p=reject":                                 "no",
		"p=reject; v=DMARC1":                                 "no",
		"v=spf1 -all":                                        "no",
		"":                                                   "no",
	} {
		got := "no"
		if r, ok := readRecord(text); ok {
			got = describe(r)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func describe(r record) string {
	words := []string{r.policy, r.subdomains, r.missing, strconv.Itoa(r.percent)}
	if r.strictDKIM {
		words = append(words, "dkim")
	}
	if r.strictSPF {
		words = append(words, "spf")
	}
	return strings.Join(words, " ")
}

func TestPickRecord(t *testing.T) {
	const a, b = "v=DMARC1; p=reject", "v=DMARC1; p=none"
	for _, c := range []struct {
		texts []string
		want  int
	}{{nil, 0}, {[]string{a}, 1}, {[]string{"other", a}, 1}, {[]string{a, "v=DMARC1"}, 1}, {[]string{a, b}, 2}, {[]string{a, a}, 2}} {
		if r, n := pickRecord(c.texts); n != c.want || n == 1 && r.policy != PolicyReject {
			t.Errorf("%q: %+v, %d", c.texts, r, n)
		}
	}
}

func TestAligned(t *testing.T) {
	for _, c := range []struct {
		a, b            string
		relaxed, strict bool
	}{
		{"sender.example", "sender.example", true, true},
		{"a.sender.example", "sender.example", true, false},
		{"a.sender.example", "b.c.sender.example", true, false},
		{"sender.example", "other.example", false, false},
		{"a.co.uk", "b.co.uk", false, false},
		{"x.a.co.uk", "y.a.co.uk", true, false},
		{"co.uk", "co.uk", true, true},
		{"a.co.uk", "co.uk", false, false},
		{"a.github.io", "b.github.io", false, false}, // a list of people who do not trust each other
		{"com", "com", true, true},
		{"", "", false, false},
		{"", "sender.example", false, false},
		{"sender.example", "xsender.example", false, false},
	} {
		if aligned(c.a, c.b, false) != c.relaxed || aligned(c.b, c.a, false) != c.relaxed || aligned(c.a, c.b, true) != c.strict {
			t.Errorf("%s and %s", c.a, c.b)
		}
	}
}

func TestEvaluate(t *testing.T) {
	sub, org := author{domain: "news.sender.example"}, author{domain: "sender.example"}
	pass := func(domain string) SPF { return SPF{Result: Pass, Domain: domain} }
	signed := func(result, domain string) []Signature { return []Signature{{Result: result, Domain: domain}} }
	policy := func(text, at string) publication {
		r, ok := readRecord(text)
		if !ok {
			t.Fatalf("%q is no policy", text)
		}
		return publication{record: r, at: at}
	}
	const reject = "v=DMARC1; p=reject"
	missing := policy("v=DMARC1; p=none; sp=quarantine; np=reject", "sender.example")
	there := missing
	missing.missing = true
	down := publication{err: errors.New("no reply")}
	half := missing
	half.missing, half.err = false, errors.New("no reply")
	for _, c := range []struct {
		name string
		author
		published  publication
		spf        SPF
		signatures []Signature
		dice       int
		want       string // result, policy, disposition
	}{
		{"DKIM of the domain", org, policy(reject, "sender.example"), SPF{Result: Fail}, signed(Pass, "sender.example"), 0, "pass reject"},
		{"DKIM of a subdomain", org, policy(reject, "sender.example"), SPF{}, signed(Pass, "news.sender.example"), 0, "pass reject"},
		{"DKIM of a subdomain, strict", org, policy(reject+"; adkim=s", "sender.example"), SPF{}, signed(Pass, "news.sender.example"), 0, "fail reject reject"},
		{"DKIM of another", org, policy(reject, "sender.example"), SPF{}, signed(Pass, "other.example"), 0, "fail reject reject"},
		{"DKIM fails", org, policy(reject, "sender.example"), SPF{}, signed(Fail, "sender.example"), 0, "fail reject reject"},
		{"the second signature", org, policy(reject, "sender.example"), SPF{}, append(signed(Fail, "sender.example"), signed(Pass, "sender.example")...), 0, "pass reject"},
		{"SPF of the domain", org, policy(reject, "sender.example"), pass("sender.example"), nil, 0, "pass reject"},
		{"SPF of a subdomain", org, policy(reject, "sender.example"), pass("bounces.sender.example"), nil, 0, "pass reject"},
		{"SPF of a subdomain, strict", org, policy(reject+"; aspf=s", "sender.example"), pass("bounces.sender.example"), nil, 0, "fail reject reject"},
		{"SPF of another", org, policy(reject, "sender.example"), pass("other.example"), nil, 0, "fail reject reject"},
		{"SPF softfail", org, policy(reject, "sender.example"), SPF{Result: SoftFail, Domain: "sender.example"}, nil, 0, "fail reject reject"},
		{"p of a subdomain without sp", sub, policy(reject, "sender.example"), SPF{}, nil, 0, "fail reject reject"},
		{"sp", sub, policy(reject+"; sp=none", "sender.example"), SPF{}, nil, 0, "fail none none"},
		{"sp is not for the domain", org, policy(reject+"; sp=none", "sender.example"), SPF{}, nil, 0, "fail reject reject"},
		{"sp of a record of its own", sub, policy(reject+"; sp=none", "news.sender.example"), SPF{}, nil, 0, "fail reject reject"},
		{"np", sub, missing, SPF{}, nil, 0, "fail reject reject"},
		{"np of one that exists", sub, there, SPF{}, nil, 0, "fail quarantine quarantine"},
		{"np, not known", sub, half, SPF{}, nil, 0, "temperror quarantine"},
		{"np, not known, but a pass", sub, half, pass("sender.example"), nil, 0, "pass quarantine"},
		{"pct, in", org, policy(reject+"; pct=30", "sender.example"), SPF{}, nil, 29, "fail reject reject"},
		{"pct, out", org, policy(reject+"; pct=30", "sender.example"), SPF{}, nil, 30, "fail reject quarantine"},
		{"pct of quarantine, out", org, policy("v=DMARC1; p=quarantine; pct=0", "sender.example"), SPF{}, nil, 0, "fail quarantine none"},
		{"quarantine", org, policy("v=DMARC1; p=quarantine", "sender.example"), SPF{}, nil, 99, "fail quarantine quarantine"},
		{"none", org, policy("v=DMARC1; p=none", "sender.example"), SPF{}, nil, 99, "fail none none"},
		{"no policy", org, publication{}, pass("sender.example"), nil, 0, "none"},
		{"DNS down", org, down, pass("sender.example"), nil, 0, "temperror"},
		{"DKIM not known", org, policy(reject, "sender.example"), SPF{}, signed(TempError, "sender.example"), 0, "temperror reject"},
		{"SPF not known", org, policy(reject, "sender.example"), SPF{Result: TempError, Domain: "sender.example"}, nil, 0, "temperror reject"},
		{"what is not known is of another", org, policy(reject, "sender.example"), SPF{Result: TempError, Domain: "other.example"}, signed(TempError, "other.example"), 0, "fail reject reject"},
		{"no author", author{flaw: "none"}, publication{}, pass("sender.example"), nil, 0, "permerror"},
		{"authors", author{flaw: "several", many: true}, publication{}, pass("sender.example"), nil, 0, "permerror"},
		{"not read", author{flaw: "unread", unread: true}, publication{}, pass("sender.example"), nil, 0, "temperror"},
	} {
		d := evaluate(c.author, c.published, c.spf, c.signatures, c.dice)
		if got := strings.TrimSpace(d.Result + " " + d.Policy + " " + d.Disposition); strings.Join(strings.Fields(got), " ") != c.want || d.Several != c.many || d.Domain != c.domain {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestPublication: which names are asked, and whose policy counts.
func TestPublication(t *testing.T) {
	lines := []string{
		`_dmarc.sender.example. 60 IN TXT "v=DMARC1; p=reject; sp=none; np=quarantine"`,
		`_dmarc.own.sender.example. 60 IN TXT "v=DMARC1; p=quarantine"`,
		`_dmarc.twice.sender.example. 60 IN TXT "v=DMARC1; p=none"`, `_dmarc.twice.sender.example. 60 IN TXT "v=DMARC1; p=reject"`,
		`_dmarc.plain.example. 60 IN TXT "v=DMARC1; p=reject"`,
		`there.sender.example. 60 IN A 192.0.2.1`, `mx.sender.example. 60 IN MX 10 other.example.`, `six.sender.example. 60 IN AAAA 2001:db8::1`,
		`_dmarc.uk. 60 IN TXT "v=DMARC1; p=reject"`, `_dmarc.co.uk. 60 IN TXT "v=DMARC1; p=reject"`,
	}
	for _, c := range []struct{ domain, policy, asked string }{
		{"sender.example", "reject", "_dmarc.sender.example TXT"},
		{"own.sender.example", "quarantine", "_dmarc.own.sender.example TXT"},
		{"there.sender.example", "none", "_dmarc.sender.example TXT, _dmarc.there.sender.example TXT, there.sender.example A, there.sender.example AAAA"},
		{"six.sender.example", "none", "_dmarc.sender.example TXT, _dmarc.six.sender.example TXT, six.sender.example A, six.sender.example AAAA"},
		{"mx.sender.example", "none", "_dmarc.mx.sender.example TXT, _dmarc.sender.example TXT, mx.sender.example A, mx.sender.example AAAA, mx.sender.example MX"},
		{"gone.sender.example", "quarantine", "_dmarc.gone.sender.example TXT, _dmarc.sender.example TXT, gone.sender.example A, gone.sender.example AAAA, gone.sender.example MX"},
		{"twice.sender.example", "", "_dmarc.twice.sender.example TXT"}, // RFC 7489 6.6.3, step 5
		{"a.b.c.plain.example", "reject", "_dmarc.a.b.c.plain.example TXT, _dmarc.plain.example TXT"},
		{"any.co.uk", "", "_dmarc.any.co.uk TXT"},
		{"none.example", "", "_dmarc.none.example TXT"},
	} {
		server := dnstest.New(t, lines...)
		v := verifier(t, server)
		p := v.publication(t.Context(), &budget{Resolver: v.options.Resolver, left: maxQuestions}, author{domain: c.domain})
		if p.err != nil {
			t.Error(p.err)
		}
		policy := ""
		if p.at != "" {
			policy = p.policyFor(c.domain)
		}
		if asked := strings.Join(server.Asked(), ", "); policy != c.policy || asked != c.asked {
			t.Errorf("%s: %q, want %q; asked %q, want %q", c.domain, policy, c.policy, asked, c.asked)
		}
		server.Trouble("", dnstest.Fail)
	}
	for name, want := range map[string]string{"_dmarc.gone.sender.example": "", "_dmarc.sender.example": "", "gone.sender.example": "sender.example"} {
		server := dnstest.New(t, lines...)
		server.Trouble(name, dnstest.Fail)
		v := verifier(t, server)
		p := v.publication(t.Context(), &budget{Resolver: v.options.Resolver, left: maxQuestions}, author{domain: "gone.sender.example"})
		if p.err == nil || p.at != want {
			t.Errorf("%s fails: %+v", name, p)
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=none; pct=10; adkim=s; rua=mailto:a@b")
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := readRecord(text)
		if !ok {
			return
		}
		for _, policy := range []string{r.policy, r.subdomains, r.missing} {
			if policy != "" && policyWord(policy) == "" {
				t.Errorf("policy %q", policy)
			}
		}
		if r.policy == "" || r.percent < 0 || r.percent > 100 {
			t.Errorf("%+v", r)
		}
	})
}

func TestJudge(t *testing.T) {
	fail := func(disposition string) Verdicts {
		return Verdicts{DMARC: DMARC{Result: Fail, Domain: "sender.example", Disposition: disposition}}
	}
	good := Verdicts{Author: true, DMARC: DMARC{Result: Pass}}
	observe, enforce, hold := Rule{}, Rule{Enforce: true}, Rule{HoldUnauthenticated: true}
	both := Rule{Enforce: true, HoldUnauthenticated: true}
	several := Verdicts{DMARC: DMARC{Result: PermError, Several: true, Reason: "several"}}
	unknown := Verdicts{Unknown: true, DMARC: DMARC{Result: TempError}}
	for _, c := range []struct {
		name  string
		v     Verdicts
		rules []Rule
		want  Action
		why   string
	}{
		{"nobody's rules", fail(PolicyReject), nil, Keep, ""},
		{"observed", fail(PolicyReject), []Rule{observe, observe}, Keep, ""},
		{"reject", fail(PolicyReject), []Rule{enforce}, Refuse, "sender.example asks for rejection"},
		{"reject for all", fail(PolicyReject), []Rule{enforce, enforce}, Refuse, "rejection"},
		{"reject, and one observes", fail(PolicyReject), []Rule{enforce, observe}, Hold, "rejection"},
		{"one observes, and reject", fail(PolicyReject), []Rule{observe, enforce}, Hold, "rejection"},
		{"reject twice, and one observes", fail(PolicyReject), []Rule{enforce, enforce, observe}, Hold, "rejection"},
		{"reject and hold", fail(PolicyReject), []Rule{enforce, hold}, Hold, "rejection"},
		{"quarantine", fail(PolicyQuarantine), []Rule{enforce}, Hold, "quarantine"},
		{"quarantine, and one observes", fail(PolicyQuarantine), []Rule{observe, enforce, observe}, Hold, "quarantine"},
		{"p=none", fail(PolicyNone), []Rule{enforce}, Keep, ""},
		{"p=none, held for no author", fail(PolicyNone), []Rule{both}, Hold, "unauthenticated"},
		{"several authors", several, []Rule{enforce}, Refuse, "several"},
		{"several authors, observed", several, []Rule{observe}, Keep, ""},
		{"no author", Verdicts{DMARC: DMARC{Result: PermError, Reason: "no From"}}, []Rule{enforce}, Hold, "no From"},
		{"unauthenticated", Verdicts{DMARC: DMARC{Result: None}}, []Rule{hold}, Hold, "unauthenticated"},
		{"unauthenticated, enforced", Verdicts{DMARC: DMARC{Result: None}}, []Rule{enforce}, Keep, ""},
		{"not known", unknown, []Rule{both}, Keep, ""},
		{"good", good, []Rule{both, hold, enforce, observe}, Keep, ""},
	} {
		if got, why := Judge(c.v, c.rules); got != c.want || !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
			t.Errorf("%s: %v %q", c.name, got, why)
		}
	}
}
