package inbound

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/recipients"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Question is about a recipient that a client might name.
type Question struct {
	ReversePath string // "" is the null reverse-path
	Recipient   string
	Client      netip.Addr    // the zero Addr is none in particular
	Suppose     *health.State // of the upstream; nil: as it is
}

// Explanation is how admission would decide now, and why.
type Explanation struct {
	Action   string // pass, take, defer or refuse
	Rule     string // the reason that is stored with the message, or counts the refusal
	Why      string // for people
	Reply    string // what the client would be told, "" if the recipient is accepted
	Domain   string
	Upstream string // "" if the domain is not ours
	State    health.State
	Facts    []Fact // in the order in which they are looked at
}

// Fact is what one check found.
type Fact struct{ Check, Finding string }

// whys are the rules for people.
var whys = map[string]string{
	reasonRelayDenied: "The domain is not one of ours.",
	reasonUnknown:     "As far as is known, there is no such recipient.",
	reasonNotKnown:    "Nobody can say now whether the recipient exists, and the domain waits until somebody can.",
	reasonPrimaryUp:   "The upstream is up, and a fallback tells senders to use it.",
	reasonReturning:   "The upstream seems to be up, but this sender keeps coming back: it cannot reach it.",
	reasonPass:        "The mail is handed to the upstream while its sender waits. If the upstream fails meanwhile, the mail is kept here.",
	reasonDegraded:    "The upstream is in doubt: the mail is kept here and delivered at once, if that can be done.",
	reasonDown:        "The upstream is down: the mail is kept here until it is back.",
	reasonRecovering:  "The upstream is coming back: the mail is kept here until its turn has come.",
	reasonListed:      "A DNS list has the client, and no list that allows it.",
	reasonGreylisted:  "Mail is held for the upstream, and this sender has not been seen: it has to come again.",
	reasonPaused:      "A person has paused the intake.",
	reasonStore:       "The store has failed: nothing can be kept.",
	reasonSpace:       "The disk has too little room left.",
	reasonLimit:       "As much mail is kept as the limits allow.",
	reasonConnections: "As many sessions are open as the limits allow.",
	reasonPerAddress:  "The client has as many sessions open as the limits allow one address.",
	reasonPerNetwork:  "The network of the client has as many sessions open as the limits allow one.",
}

// whyRate is why of every limit of a minute.
const whyRate = "What may be used in a minute is used up, by the client, its network, or all together: it is told to come again."

// Explain decides about a recipient without changing anything. The error says
// what is wrong with the question.
func (s *Server) Explain(q Question) (Explanation, error) {
	path, err := smtp.ParsePath(q.Recipient)
	if err != nil || path.IsNull() {
		return Explanation{}, fmt.Errorf("%.80q is no address of a recipient", q.Recipient)
	}
	if _, err := smtp.ParsePath(q.ReversePath); err != nil {
		return Explanation{}, fmt.Errorf("%.80q is no address of a sender", q.ReversePath)
	}
	e := Explanation{}
	crowd := e.connection(s, q.Client)
	e.Domain, _ = smtp.ASCIIDomain(path.Domain) // ParsePath has checked it
	a, upstream := s.look(e.Domain)
	e.Upstream = upstream
	if q.Suppose != nil {
		a.state = *q.Suppose
	}
	e.State = a.state
	var answer recipients.Answer
	if a.relayed {
		answer = s.known(e.Domain, path)
		a.learn(answer)
	}
	e.factsOf(a, q, answer, s.options.Secured[e.Domain])
	a.returning = e.sender(s, a, q, path)
	e.decide(s, a, q, crowd)
	return e, nil
}

func (e *Explanation) fact(check, format string, args ...any) {
	e.Facts = append(e.Facts, Fact{check, fmt.Sprintf(format, args...)})
}

// factsOf says what is known of the recipient and its upstream.
func (e *Explanation) factsOf(a asked, q Question, answer recipients.Answer, tls bool) {
	if !a.relayed {
		e.fact("domain", "%s is not ours", e.Domain)
		return
	}
	e.fact("domain", "%s is ours, its upstream is %s", e.Domain, e.Upstream)
	if tls {
		e.fact("tls", "the domain takes mail over TLS only: in plaintext the recipient is refused")
	}
	e.fact("recipient", "%s is %s: %s", q.Recipient, answer.Verdict, because(answer))
	if !a.known {
		return
	}
	e.fact("role", "%s", a.rule)
	supposed := ""
	if q.Suppose != nil {
		supposed = ", as is supposed here"
	}
	e.fact("upstream", "%s is %s%s", e.Upstream, a.state, supposed)
}

// because says why a recipient is known or not, and how old that knowledge is.
func because(a recipients.Answer) string {
	switch {
	case a.Verdict == recipients.NotKnown && a.Policy != "":
		return fmt.Sprintf("%s; not_known is %s", a.Why, a.Policy)
	case a.At.IsZero():
		return a.Why
	}
	return fmt.Sprintf("%s (%s, %s)", a.Why, a.Source, a.At.UTC().Format(time.DateTime+"Z"))
}

// String says what the rule does.
func (r Rule) String() string {
	switch {
	case r.Role == Front:
		return "front: mail is passed to the upstream unless it is out"
	case r.WhenUp == Pass:
		return "fallback, when_up pass: mail is passed to the upstream while it is up"
	}
	return "fallback, when_up defer: senders are told to use the upstream while it is up"
}

// sender says whether the sender is believed that it cannot reach the primary.
func (e *Explanation) sender(s *Server, a asked, q Question, path smtp.Path) bool {
	if !a.known || a.state != health.Up || !a.rule.defers() {
		return false
	}
	rule := s.options.Returning
	returns, over, known := s.returning.peek(q.Client, q.ReversePath, strings.ToLower(path.String()), time.Now())
	believed := returns >= rule.Times && over >= rule.Over
	switch {
	case !known:
		e.fact("sender", "it was not told to use the upstream lately")
	case believed:
		e.fact("sender", "it came back %d times over %s: it is believed that it cannot reach the upstream", returns, over.Round(time.Second))
	default:
		e.fact("sender", "it came back %d times over %s; it is believed from %d times over %s on", returns, over.Round(time.Second), rule.Times, rule.Over)
	}
	return believed
}

// decide asks as a session would: first whether the client is let in, and then
// whether anything can be taken at all.
func (e *Explanation) decide(s *Server, a asked, q Question, crowd *refusal) {
	decision := admit(a)
	obstacle := s.obstacle(e.Upstream, decision, a.state)
	if obstacle != nil {
		e.fact("intake", "%s", obstacle.reply.Text())
	}
	no := cmp.Or(crowd, obstacle, e.rates(s, q.Client), decision.no)
	if no != nil {
		e.unasked(s, q.Client)
	} else {
		no = e.wanted(s, q, decision)
	}
	e.conclude(decision, no)
}

// wanted asks the lists about a client, and whether it has been seen.
func (e *Explanation) wanted(s *Server, q Question, decision admitted) *refusal {
	allowed, no := e.listed(s, q.Client)
	if no == nil && !allowed {
		no = e.met(s, q, decision)
	}
	if names := s.filterNames(); no == nil && names != "" {
		e.fact("filters", "%s asked about the content when all of it has come", names)
	}
	return no
}

// conclude says what comes of it.
func (e *Explanation) conclude(decision admitted, no *refusal) {
	switch {
	case no == nil && decision.pass:
		e.Action, e.Rule = "pass", decision.reason
	case no == nil:
		e.Action, e.Rule = "take", decision.reason
	case no.reply.Temporary():
		e.Action, e.Rule, e.Reply = "defer", no.reason, no.reply.Error()
	default:
		e.Action, e.Rule, e.Reply = "refuse", no.reason, no.reply.Error()
	}
	e.Why = cmp.Or(whys[e.Rule], whyRate)
}

// obstacle is what keeps mail out that would be admitted, or is refused before
// admission is asked; nil if there is none.
func (s *Server) obstacle(upstream string, a admitted, state health.State) *refusal {
	probe := &session{server: s, ctx: context.Background()}
	switch {
	case s.pause() != Pause{}:
		return paused()
	case s.storeFailure() != nil:
		return storeFailed()
	case a.no != nil, a.pass && state == health.Up && !s.filters(): // it passes without being kept
		return nil
	}
	return probe.keepable(upstream, 0)
}
