package outbound

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/reply"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Report is what an attempt came to.
type Report struct {
	Results map[int]queue.Result // by index of Envelope.Recipients
	Signals []health.Signal      // in the order in which they were observed
	Slow    time.Duration        // if not zero, try what was deferred no sooner than after it
	Relayed []int                // delivered recipients whose NOTIFY the primary does not understand
	// Content is the error that kept the content from being read to its end.
	// Recipients that have no result then were not delivered to.
	Content error
}

// delivery is one attempt for one message.
type delivery struct {
	upstream *Upstream
	message  queue.Message
	path     smtp.Path // the reverse-path
	utf8     bool      // SMTPUTF8 is needed
	open     func() (io.ReadCloser, error)
	pending  []int    // recipients to deliver to
	session  *session // nil between connections
	dsn      bool     // the last session could be told of NOTIFY
	report   Report

	unreachable bool // there is no session to be had; all recipients have a result
}

// member is a recipient of a transaction.
type member struct {
	index int
	path  smtp.Path
}

// Deliver makes one attempt for the pending recipients of the message. open is
// called once for each transaction and gives the content, trace header lines
// first; an error of reading it ends the connection before the final dot.
//
// Cancelling ctx breaks off what runs, except that the reply to a final dot is
// waited for; its deadline bounds everything.
func (u *Upstream) Deliver(ctx context.Context, m queue.Message, open func() (io.ReadCloser, error)) Report {
	d := &delivery{upstream: u, message: m, open: open, pending: m.Pending(), report: Report{Results: map[int]queue.Result{}}}
	return d.all(ctx)
}

// all delivers to those who are pending.
func (d *delivery) all(ctx context.Context) Report {
	u := d.upstream
	if !u.slots.deliver(ctx) {
		d.giveUp(hop{}, answer{phase: health.PhaseConnect, command: "connect", ours: true})
		return d.report
	}
	defer u.slots.delivered()
	defer d.leave() // also in a panic, of open for example
	work := d.plan()
	for len(work) > 0 && d.report.Content == nil && !d.unreachable {
		members := work[0]
		together, apart := d.transact(ctx, members)
		work = slices.Concat(together, apart, work[1:])
	}
	if d.session != nil {
		u.give(d.session)
		d.session = nil
	}
	return d.report
}

// leave ends a session that was not given back: who knows what it has said.
func (d *delivery) leave() {
	if d.session != nil {
		d.session.hangUp()
	}
}

// plan divides the pending recipients into transactions: one domain each
// (Exchange Online takes no second one), in the order of the envelope.
func (d *delivery) plan() [][]member {
	var err error
	if d.path, err = smtp.ParsePath(d.message.Envelope.ReversePath); err != nil {
		d.refuse(d.pending, queue.ScopeMessage, err.Error())
		return nil
	}
	d.utf8 = d.message.Envelope.Params.SMTPUTF8 || !d.path.ASCII()
	var domains []string
	byDomain := map[string][]member{}
	for _, i := range d.pending {
		path, err := smtp.ParsePath(d.message.Envelope.Recipients[i].ForwardPath)
		if err != nil || path.IsNull() {
			d.refuse([]int{i}, queue.ScopeOneRecipient, "no path that can be sent: "+d.message.Envelope.Recipients[i].ForwardPath)
			continue
		}
		domain, _ := smtp.ASCIIDomain(path.Domain) // ParsePath has checked it; postmaster has none
		if byDomain[domain] == nil {
			domains = append(domains, domain)
		}
		byDomain[domain] = append(byDomain[domain], member{i, path})
		d.utf8 = d.utf8 || !path.ASCII()
	}
	var work [][]member
	for _, domain := range domains {
		work = append(work, slices.Collect(slices.Chunk(byDomain[domain], d.upstream.options.Recipients))...)
	}
	return work
}

// transact carries out one transaction and enters its results. together and
// apart are what has to be sent again, in one transaction or one each.
func (d *delivery) transact(ctx context.Context, members []member) (together, apart [][]member) {
	began := time.Now()
	outcome, at, ok := d.run(ctx, members)
	if !ok {
		return nil, nil
	}
	took := time.Since(began)
	if d.report.Content = outcome.content; outcome.content != nil {
		return nil, nil
	}
	if outcome.refusal != nil {
		d.refuse(indexes(members), queue.ScopeMessage, outcome.refusal.Error())
		return nil, nil
	}
	d.observe(at, members, outcome, took)
	var rest []member
	progress := false
	for i, m := range members {
		a := outcome.ends[i]
		v := a.verdict()
		d.upstream.hear(m.path, a)
		switch {
		case a.phase == health.PhaseFinal && len(members) > 1 && mayBeOfOne(v):
			apart = append(apart, []member{m})
		case v.Action == reply.Split && len(members) > 1:
			rest = append(rest, m)
		default:
			progress = true
			d.settle(m.index, at, a, took)
		}
	}
	if len(rest) > 0 && progress {
		return [][]member{rest}, apart
	}
	for _, m := range rest { // nobody was taken together with others
		apart = append(apart, []member{m})
	}
	return nil, apart
}

// mayBeOfOne: the reply to the content is for all recipients, but it may be
// about one of them without saying which.
func mayBeOfOne(v reply.Verdict) bool {
	return v.Action == reply.Split || v.Action != reply.Deliver && v.Scope == reply.ScopeRecipient
}

// run finds a session and runs the transaction on it. If ok is false the
// members have their results.
func (d *delivery) run(ctx context.Context, members []member) (outcome, hop, bool) {
	fresh := d.session != nil // it has just answered
	if d.session == nil {
		d.session = d.upstream.take()
	}
	for {
		if d.session == nil {
			s, at, a := d.upstream.dial(ctx, func(at hop, a answer, took time.Duration) { d.signal(at, a, took) })
			if s == nil {
				d.giveUp(at, a)
				return outcome{}, hop{}, false
			}
			d.session, fresh = s, true
		}
		s := d.session
		lacking := s.lacks(d.message, d.utf8)
		if lacking.Code != 0 && !fresh { // that is what the primary offered when the session began
			s.quit()
			d.session = nil
			continue
		}
		if lacking.Code != 0 {
			d.refuse(indexes(members), queue.ScopeMessage, lacking.Text())
			return outcome{}, hop{}, false
		}
		d.dsn = s.dsn
		o := s.run(ctx, d.transaction(s, members))
		if s.worn(time.Now()) {
			s.quit()
			d.session = nil
		}
		if fresh || !o.stale() {
			return o, s.hop, true
		}
	}
}

// giveUp enters the same result for all recipients that have none yet.
func (d *delivery) giveUp(at hop, a answer) {
	d.unreachable = true
	for _, i := range d.pending {
		if _, done := d.report.Results[i]; !done {
			d.settle(i, at, a, 0)
		}
	}
}

// stale reports whether a connection that had been idle was found closed: that
// says nothing about the primary, and nothing has been sent.
func (o *outcome) stale() bool {
	if len(o.ends) == 0 || o.data.phase != "" {
		return false
	}
	first := o.mail
	if first.phase == "" { // RSET came before
		first = o.ends[0]
	}
	return first.lost() && !first.ours
}

// transaction writes the commands.
func (d *delivery) transaction(s *session, members []member) transaction {
	t := transaction{mail: s.mailLine(d.path, d.message, d.utf8), content: d.open}
	for _, m := range members {
		t.rcpts = append(t.rcpts, s.rcptLine(m.path, d.message.Envelope.Recipients[m.index]))
	}
	return t
}

func indexes(members []member) []int {
	var all []int
	for _, m := range members {
		all = append(all, m.index)
	}
	return all
}
