package auth

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// The policies of RFC 7489 6.3.
const (
	PolicyNone       = "none"
	PolicyQuarantine = "quarantine"
	PolicyReject     = "reject"
)

// DMARC is the result of RFC 7489.
type DMARC struct {
	Result      string
	Domain      string // of From; "" if there is not exactly one
	Record      string // domain that the policy was found at; "" if there is none
	Policy      string // that counts for Domain
	Percent     int    // of the failures that it is for
	Disposition string // what it asks for this message
	Several     bool   // the message names authors of several domains, or has several From fields
	Reason      string
}

// record is a policy as it is published.
type record struct {
	policy, subdomains, missing string // p, sp and np (RFC 9091); "" if not given
	strictDKIM, strictSPF       bool
	percent                     int
}

// publication is what was found for the domain of an author.
type publication struct {
	record
	at      string // domain that has it; "" if none has
	err     error  // it could not be looked up
	missing bool   // the author's domain does not exist
}

// orgDomain is the organisational domain (RFC 7489 3.2).
func orgDomain(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain // it is a public suffix itself
}

// aligned reports whether two domains are of one organisation, or the same if
// it is strict (RFC 7489 3.1).
func aligned(a, b string, strict bool) bool {
	if a == "" || b == "" {
		return false
	}
	return a == b || !strict && orgDomain(a) == orgDomain(b)
}

// publication looks a policy up (RFC 7489 6.6.3).
func (v *Verifier) publication(ctx context.Context, resolver *budget, a author) (found publication) {
	if a.domain == "" {
		return publication{}
	}
	if err := v.guarded("dmarc", func() {
		found = lookUp(ctx, resolver, a.domain)
	}); err != nil {
		return publication{err: err}
	}
	return found
}

func lookUp(ctx context.Context, resolver *budget, domain string) publication {
	names := []string{domain}
	if org := orgDomain(domain); org != domain {
		names = append(names, org)
	}
	for _, name := range names {
		texts, err := resolver.LookupTXT(ctx, "_dmarc."+name)
		if err != nil && !notFound(err) {
			return publication{err: err}
		}
		r, n := pickRecord(texts)
		if n > 1 { // then none counts, nor that of the organisation
			return publication{}
		}
		if n == 1 {
			p := publication{record: r, at: name}
			if r.missing != "" && name != domain {
				p.missing, p.err = nowhere(ctx, resolver, domain)
			}
			return p
		}
	}
	return publication{}
}

// nowhere reports whether a domain does not exist: it has neither address nor
// mail exchanger (RFC 9091 2.7).
func nowhere(ctx context.Context, resolver *budget, domain string) (bool, error) {
	_, err := resolver.LookupIP(ctx, "ip", domain)
	if notFound(err) {
		_, err = resolver.LookupMX(ctx, domain)
	}
	if notFound(err) {
		return true, nil
	}
	return false, err
}

func notFound(err error) bool {
	var d *net.DNSError
	return errors.As(err, &d) && d.IsNotFound
}

// pickRecord finds the policy among the texts of a name, and how many there are.
func pickRecord(texts []string) (found record, n int) {
	for _, text := range texts {
		if r, ok := readRecord(text); ok {
			found = r
			n++
		}
	}
	return found, n
}

// readRecord reads a policy. What it does not know is passed over, and what is
// wrong has its default (RFC 7489 6.3, 6.6.3). ok is false if it is no policy.
func readRecord(text string) (r record, ok bool) {
	version, rest, _ := strings.Cut(text, ";")
	name, value, _ := strings.Cut(version, "=")
	if strings.TrimSpace(name) != "v" || strings.TrimSpace(value) != "DMARC1" {
		return record{}, false
	}
	r.percent = 100
	reports, wrong := false, false
	for tag := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(tag, "=")
		value = strings.ToLower(strings.TrimSpace(value))
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "p":
			r.policy = policyWord(value)
		case "sp":
			r.subdomains = policyWord(value)
			wrong = wrong || r.subdomains == ""
		case "np":
			r.missing = policyWord(value)
		case "adkim":
			r.strictDKIM = value == "s"
		case "aspf":
			r.strictSPF = value == "s"
		case "pct":
			if n, err := strconv.Atoi(value); err == nil && n >= 0 && n <= 100 {
				r.percent = n
			}
		case "rua":
			reports = strings.Contains(value, ":")
		}
	}
	if r.policy == "" || wrong {
		if !reports {
			return record{}, false
		}
		r.policy, r.subdomains, r.missing = PolicyNone, "", ""
	}
	return r, true
}

func policyWord(s string) string {
	switch s {
	case PolicyNone, PolicyQuarantine, PolicyReject:
		return s
	}
	return ""
}

// policyFor is the policy that counts for a domain.
func (p publication) policyFor(domain string) string {
	switch {
	case p.at == domain:
		return p.policy
	case p.missing && p.record.missing != "":
		return p.record.missing
	case p.subdomains != "":
		return p.subdomains
	}
	return p.policy
}

// conclude evaluates what was found by itself.
func (v *Verifier) conclude(found *Verdicts, a author, p publication, dice int) {
	spf := found.MailFrom
	if spf.Result == "" { // the null reverse-path: RFC 7489 4.1 takes the name of the client
		spf = found.Hello
	}
	found.Unknown = a.unread
	if a.domain != "" {
		_, found.Author, found.Unknown = evidence(a.domain, record{}, spf, found.DKIM)
	}
	found.DMARC = evaluate(a, p, spf, found.DKIM, dice)
}

// evidence looks for a pass that is aligned with a domain. unknown says that
// there is none, but might be one: something could not be found out.
func evidence(domain string, r record, spf SPF, signatures []Signature) (by string, pass, unknown bool) {
	for _, s := range signatures {
		if aligned(s.Domain, domain, r.strictDKIM) {
			if s.Result == Pass {
				return "dkim", true, false
			}
			unknown = unknown || s.Result == TempError
		}
	}
	if aligned(spf.Domain, domain, r.strictSPF) {
		if spf.Result == Pass {
			return "spf", true, false
		}
		unknown = unknown || spf.Result == TempError
	}
	return "", false, unknown
}

// evaluate is DMARC itself. dice is a number from 0 to 99 for policies that are
// for a share of the failures.
func evaluate(a author, p publication, spf SPF, signatures []Signature, dice int) DMARC {
	d := DMARC{Domain: a.domain, Record: p.at, Percent: p.percent}
	if a.domain == "" {
		d.Result, d.Reason, d.Several = PermError, a.flaw, a.many
		if a.unread {
			d.Result = TempError
		}
		return d
	}
	if p.at != "" {
		d.Policy = p.policyFor(a.domain)
	}
	by, pass, unknown := evidence(a.domain, p.record, spf, signatures)
	switch {
	case p.at == "" && p.err != nil, p.err != nil && !pass:
		d.Result, d.Reason = TempError, "the policy could not be looked up: "+short(p.err.Error())
		return d
	case p.at == "":
		d.Result, d.Reason = None, "no policy is published"
		return d
	case pass:
		d.Result, d.Reason = Pass, by+" is aligned"
		return d
	case unknown:
		d.Result, d.Reason = TempError, "it could not be found out whether the author's domain sent it"
		return d
	}
	d.Result, d.Reason = Fail, "neither SPF nor DKIM passed for the author's domain"
	d.Disposition = disposition(d.Policy, p.percent, dice)
	return d
}

// disposition is what a policy asks for one failure: for those beyond its share
// the next milder one counts (RFC 7489 6.6.4).
func disposition(policy string, percent, dice int) string {
	switch {
	case dice < percent:
		return policy
	case policy == PolicyReject:
		return PolicyQuarantine
	}
	return PolicyNone
}
