package health

import (
	"slices"
	"time"
)

// Scope says what trouble is limited to. The zero Scope is all of the primary.
type Scope struct {
	Domain   string `json:"domain,omitempty"`         // of recipients
	SourceIP string `json:"source_address,omitempty"` // of ours
	Host     string `json:"host,omitempty"`           // of theirs
	Address  string `json:"address,omitempty"`        // of theirs, "ip:port"
}

// String is for people; "" is the zero Scope.
func (s Scope) String() string {
	switch {
	case s.Domain != "":
		return "only the domain " + s.Domain
	case s.SourceIP != "":
		return "only our address " + s.SourceIP
	case s.Address != "":
		return "only its address " + s.Address
	}
	return ""
}

// covers reports whether a message of this signal is within the scope.
func (s Scope) covers(sig Signal) bool {
	return (s.Domain == "" || s.Domain == sig.Domain) && (s.SourceIP == "" || s.SourceIP == sig.SourceIP) &&
		(s.Address == "" || s.Address == sig.Address)
}

// lane is what became of the mail of one domain that left from one address of
// ours. Probes have no domain.
type lane struct {
	domain, sourceIP                   string
	used                               time.Time
	good, throttled, refused, deferred time.Time // when it was so last
	failed, accepted                   time.Time
	bad                                float64 // weight of the failures since the last accepted message
}

// maxLanes is how many are remembered; the one that was not used for longest goes first.
const maxLanes = 32

func (l lane) throttledAt() time.Time { return l.throttled }
func (l lane) refusedAt() time.Time   { return l.refused }
func (l lane) putOffAt() time.Time    { return l.deferred }
func (l lane) failedAt() time.Time    { return l.failed }

// with is the lane after one more signal.
func (l lane) with(sig Signal) lane {
	l.used = sig.At
	switch sig.Class {
	case OK:
		l.good, l.bad = sig.At, 0
		if sig.Source.passive() {
			l.accepted = sig.At
		}
	case Outage:
		l.failed, l.bad = sig.At, l.bad+weigh(sig)
	case Throttle:
		l.throttled = sig.At
	case Misconfigured:
		l.refused = sig.At
	case Temporary:
		l.deferred = sig.At
	}
	return l
}

// travelled returns the lanes after one more signal.
func travelled(lanes []lane, sig Signal) []lane {
	i := slices.IndexFunc(lanes, func(l lane) bool { return l.domain == sig.Domain && l.sourceIP == sig.SourceIP })
	lanes = slices.Clone(lanes)
	switch {
	case i >= 0:
	case len(lanes) < maxLanes:
		i = len(lanes)
		lanes = append(lanes, lane{})
	default:
		i = slices.Index(lanes, slices.MinFunc(lanes, func(a, b lane) int { return a.used.Compare(b.used) }))
		lanes[i] = lane{}
	}
	if lanes[i] == (lane{}) {
		lanes[i] = lane{domain: sig.Domain, sourceIP: sig.SourceIP}
	}
	lanes[i] = lanes[i].with(sig)
	return lanes
}

// scope is what trouble since at is limited to: what all lanes that met it, when
// at is their last time, have in common, while a lane without it goes well.
func (w Window) scope(met func(lane) time.Time, at time.Time) Scope {
	var bad, good []lane
	for _, l := range w.lanes {
		switch t := met(l); {
		case !t.Before(at) && !t.Before(l.good):
			bad = append(bad, l)
		case !l.good.Before(at):
			good = append(good, l)
		}
	}
	domain := func(l lane) string { return l.domain }
	source := func(l lane) string { return l.sourceIP }
	return Scope{Domain: apart(bad, good, domain), SourceIP: apart(bad, good, source)}
}

// apart is the one value of all bad lanes, if others are good and none of them has it.
func apart(bad, good []lane, of func(lane) string) string {
	value, others := "", false
	for _, l := range bad {
		if v := of(l); v != "" && value != "" && v != value {
			return ""
		} else if v != "" {
			value = v
		}
	}
	for _, l := range good {
		if v := of(l); v != "" && v == value {
			return ""
		} else if v != "" {
			others = true
		}
	}
	if !others {
		return ""
	}
	return value
}

// refusedScope is that of probes that are refused, in one round or in several.
func (w Window) refusedScope(at time.Time) Scope {
	if w.last.refusing == 1 && w.last.size > 1 {
		return Scope{Host: w.last.refusal.Host, Address: w.last.refusal.Address}
	}
	return w.scope(lane.refusedAt, at)
}

// acceptedSince reports whether a message was.
func (w Window) acceptedSince(at time.Time) bool {
	return slices.ContainsFunc(w.lanes, func(l lane) bool { return !l.accepted.Before(at) })
}
