package health

import "time"

// Condition is trouble that is not an outage: throttling, a configuration to
// mend, recipients, our own network.
type Condition struct {
	Since  time.Time `json:"since,omitzero"`
	Last   time.Time `json:"last,omitzero"`
	Until  time.Time `json:"until,omitzero"`   // when it ends by itself, or, if it stops deliveries, when one is tried
	Source Source    `json:"source,omitempty"` // of the last signal
	Reply  string    `json:"reply,omitempty"`  // of the last signal, verbatim, from a remote server
	Row    int       `json:"row,omitempty"`    // of the reply catalogue
	Fix    string    `json:"fix,omitempty"`    // what a person can do about it
	Scope  Scope     `json:"scope,omitzero"`
	Count  int       `json:"count,omitempty"` // messages that met it since the last accepted one
	Stops  bool      `json:"stops,omitempty"` // whatever we send is refused: deliveries wait
}

// Active reports whether the condition stands.
func (c Condition) Active() bool { return !c.Since.IsZero() }

// renewed is the condition with one more signal for it.
func (c Condition) renewed(sig Signal) Condition {
	if !c.Active() {
		c.Since = sig.At
	}
	c.Last, c.Source, c.Reply, c.Row, c.Fix = sig.At, sig.Source, sig.Reply, sig.Row, sig.Fix
	if sig.Source.passive() {
		c.Count++
	}
	return c
}

// relieved reports whether an accepted message ends the condition: not at once,
// for throttling lets some messages pass, and the condition would come and go
// with each; and not if it is for another domain or went another way.
func (c Condition) relieved(sig Signal, relief time.Duration) bool {
	return sig.Source.passive() && sig.Class == OK && c.Scope.covers(sig) && sig.At.Sub(c.Last) >= relief
}

// stopEases is how many times longer than another a condition lasts that stops
// deliveries: no more than one in Rules.Ease can show that it is over.
const stopEases = 6

// recipientEases is the same of trouble with recipients, whose mail is tried
// again at long intervals.
const recipientEases = 3

// over is when the condition ends by itself.
func (r Rules) over(c Condition) time.Time {
	if c.Stops {
		return c.Last.Add(stopEases * r.Ease)
	}
	if c.Until.After(c.Last.Add(r.Ease)) {
		return c.Until
	}
	return c.Last.Add(r.Ease)
}

// conditions takes a signal into account for all that is not an outage.
func (r Rules) conditions(s Status, w Window, sig Signal) Status {
	if sig.Source == SourceSender || sig.Source == SourceVantage {
		return s
	}
	s.Throttled = r.throttled(s.Throttled, w, sig)
	s.Misconfigured = r.misconfigured(s.Misconfigured, w, sig)
	s.Recipients = r.recipients(s.Recipients, w, sig)
	s.Network = r.network(s, w, sig)
	return s
}

func (r Rules) throttled(c Condition, w Window, sig Signal) Condition {
	switch {
	case sig.Class == Throttle:
		c = c.renewed(sig)
		c.Scope = w.scope(lane.throttledAt, sig.At.Add(-r.Span))
		c.Until = sig.At.Add(max(r.Ease, sig.Slow))
	case c.relieved(sig, r.Relief):
		c = Condition{}
	}
	return c
}

// misconfigured: what probes found, a good round ends; what messages met, an
// accepted one.
func (r Rules) misconfigured(c Condition, w Window, sig Signal) Condition {
	accepted := sig.Source.passive() && sig.Class == OK && c.Scope.covers(sig)
	switch {
	case sig.Class == Misconfigured && sig.Source != SourceProbe:
		c = c.renewed(sig)
		c.Scope = w.scope(lane.refusedAt, sig.At.Add(-r.Span))
		c.Until = sig.At.Add(r.Ease)
	case w.ended && w.last.refusing > 0:
		c = c.renewed(w.last.refusal)
		c.Scope = w.refusedScope(sig.At.Add(-r.Span))
		if !c.Stops && c.Count == 0 {
			c.Until = time.Time{} // no message has been tried: one may be
		}
	case w.ended && w.last.isGood() && c.Source == SourceProbe, c.relieved(sig, r.Relief) && c.Source != SourceProbe:
		return Condition{}
	case accepted:
		c.Count = 0
	default:
		return c
	}
	everywhere := c.Source == SourceProbe && w.last.refusing == w.last.size && !w.acceptedSince(sig.At.Add(-r.Span))
	c.Stops = c.Active() && c.Scope == Scope{} && (c.Count >= r.Attempts || everywhere || c.Stops && c.Count > 0)
	return c
}

// recipients: single mailboxes are full, or gone, at all times; some more at
// once, or a primary that does not know the recipient of the probe any more, are
// worth a look.
func (r Rules) recipients(c Condition, w Window, sig Signal) Condition {
	switch {
	case w.ended && w.last.disowning > 0:
		c = c.renewed(w.last.quoted)
	case sig.Source.passive() && sig.Class == Temporary && (c.Active() || len(since(w.refusals, sig.At.Add(-r.Span))) >= r.Attempts):
		c = c.renewed(sig)
		c.Scope = w.scope(lane.putOffAt, sig.At.Add(-r.Span))
	default:
		return c
	}
	c.Until = sig.At.Add(recipientEases * r.Ease)
	return c
}

// network: if neither the primary nor the target outside is reached, it is us.
// An answer of the primary shows that it is not; of the target two looks in a
// row are believed, and four if an outage was declared before.
func (r Rules) network(s Status, w Window, sig Signal) Condition {
	c, looks := s.Network, 2
	if s.State == Down {
		looks = 4
	}
	reached := w.control.Class == OK && (w.looks >= looks || !c.Active())
	switch {
	case sig.Source != SourceControl && !w.ended:
		return c
	case reached, !w.last.isUnreached(), w.looks < looks && !c.Active():
		return Condition{}
	}
	c = c.renewed(w.control)
	c.Last, c.Until = sig.At, sig.At.Add(r.Ease)
	return c
}
