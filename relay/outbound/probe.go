package outbound

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Probe has one dialogue with each address of each host, as a delivery has it
// up to RCPT, and sends no message:
//
//	connect, EHLO, STARTTLS, EHLO, MAIL FROM:<>, RCPT TO:<recipient>, RSET, QUIT
//
// The signals of a round share its number, and the last one says that it is.
// say, if not nil, gets the lines of all dialogues, each with its address in
// front; it is never called concurrently. The deadline of ctx counts as a
// time-out of the primary; a round that is cancelled says nothing and gives nil.
func (u *Upstream) Probe(ctx context.Context, recipient string, say func(line string)) []health.Signal {
	round := u.round.Add(1)
	path, err := smtp.ParsePath(recipient)
	if err != nil || path.IsNull() { // our configuration, not the primary
		return []health.Signal{{At: time.Now(), Upstream: u.Name(), Source: health.SourceProbe, Class: health.Misconfigured,
			Phase: health.PhaseRcpt, Command: "RCPT", Reply: "not a recipient to probe for: " + recipient, Round: round, Last: true}}
	}
	hops, failures := u.hops(ctx, 0)
	var signals []health.Signal
	for _, f := range failures {
		signals = append(signals, u.evidence(health.SourceProbe, hop{host: f.host}, f.answer, 0))
	}
	signals = append(signals, u.probeAll(ctx, hops, path, say)...)
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	for i := range signals {
		signals[i].Round, signals[i].Last = round, i == len(signals)-1
	}
	return signals
}

// probeAll probes all addresses at the same time.
func (u *Upstream) probeAll(ctx context.Context, hops []hop, recipient smtp.Path, say func(string)) []health.Signal {
	signals := make([]health.Signal, len(hops))
	var mu sync.Mutex // of say
	var running sync.WaitGroup
	for i, h := range hops {
		sayFrom := func(line string) {
			mu.Lock()
			defer mu.Unlock()
			say(h.where() + " " + line)
		}
		if say == nil {
			sayFrom = nil
		}
		running.Go(func() {
			began := time.Now()
			at, a := u.probe(ctx, h, recipient, sayFrom)
			signals[i] = u.evidence(health.SourceProbe, at, a, time.Since(began))
			u.hear(recipient, a)
		})
	}
	running.Wait()
	return signals
}

// probe is one dialogue. Its answer is the one to RCPT, or the first that was
// not ok. How the primary takes RSET and QUIT does not matter.
func (u *Upstream) probe(ctx context.Context, h hop, recipient smtp.Path, say func(string)) (hop, answer) {
	s, at, a := dial(ctx, &u.options, h, say)
	if s == nil {
		return at, a
	}
	defer s.quit()
	release := s.under(ctx)
	defer release()
	mail := "MAIL FROM:<>"
	if !recipient.ASCII() {
		mail += " SMTPUTF8"
	}
	a = s.command(health.PhaseMail, "MAIL", mail, u.options.Timeouts.Mail)
	if !a.ok() {
		return at, a
	}
	a = s.command(health.PhaseRcpt, "RCPT", "RCPT TO:<"+recipient.String()+">", u.options.Timeouts.Rcpt)
	if !s.broken {
		s.reset()
	}
	return at, a
}
