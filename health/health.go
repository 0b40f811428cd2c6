// Package health decides from signals whether a primary can take mail.
//
// It speaks of signals, status and evidence and never learns what SMTP is:
// classes come from whoever read the reply. Rules.Next is the whole decision
// and pure; a Monitor, one for each upstream, feeds it and wakes who waits.
//
//	Up          takes mail
//	Degraded    something is wrong, or nothing is known yet: mail is taken into custody, deliveries go on
//	Down        declared: nothing is delivered, only probed
//	Recovering  a probe went well: trial messages are delivered
package health

import (
	"fmt"
	"time"
)

// Class says what one observation means for the question whether the primary can take mail.
type Class uint8

// The classes (O T C M R P of the reply catalogue).
const (
	OK            Class = iota
	Outage              // the primary, or the way to it, fails
	Throttle            // it slows us down
	Misconfigured       // it refuses us for our, or the tenant's, configuration
	Temporary           // about this message or recipient, for now
	Recipient           // about this recipient, for good
	Policy              // about this message, for good
)

var classNames = []string{"ok", "outage", "throttle", "misconfigured", "temporary", "recipient", "policy"}

func (c Class) String() string { return name(classNames, int(c)) }

// limited reports whether the class is of trouble that may be limited to an
// address of ours.
func (c Class) limited() bool { return c == Throttle || c == Misconfigured }

// Ourselves are the words in a Reply that say that what answers, or would, is
// not the primary but the relay that asks.
const Ourselves = "this relay itself"

// MarshalText writes the class as its word.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the word that MarshalText wrote.
func (c *Class) UnmarshalText(text []byte) error {
	i, err := index(classNames, string(text))
	*c = Class(i)
	return err
}

// Phase is how far a dialogue with the primary had come.
type Phase string

// The phases, in their order.
const (
	PhaseResolve Phase = "resolve"
	PhaseConnect Phase = "connect"
	PhaseBanner  Phase = "banner"
	PhaseHello   Phase = "hello"
	PhaseTLS     Phase = "tls"
	PhaseMail    Phase = "mail"
	PhaseRcpt    Phase = "rcpt"
	PhaseData    Phase = "data"  // the command
	PhaseFinal   Phase = "final" // after the final dot
	PhaseReset   Phase = "reset"
)

// Source says who observed.
type Source string

// The sources.
const (
	SourceProbe   Source = "probe"   // a dialogue to RCPT
	SourceAttempt Source = "attempt" // a delivery
	SourcePassage Source = "passage" // a sender's transaction, handed on while it waits
	SourceSender  Source = "sender"  // a sender that keeps coming back to us, told apart by Address; the class does not matter
	// SourceControl is a look at a target outside that has nothing to do with
	// the primary: OK, or Outage. It tells our own network from the primary.
	SourceControl Source = "control"
	SourceCanary  Source = "canary"  // a small message of ours, to its end
	SourceVantage Source = "vantage" // what another relay sees of the primary, from where it is; Host is its name
	SourceDNS     Source = "dns"     // what one resolver says of a name of the primary
	SourceHTTPS   Source = "https"   // the answer of a web address
	SourcePublic  Source = "public"  // what the provider says of itself
)

// Signal is one observation of the primary.
type Signal struct {
	At        time.Time     `json:"at"`
	Upstream  string        `json:"upstream"`
	Domain    string        `json:"domain,omitempty"`
	Source    Source        `json:"source"`
	Class     Class         `json:"class"`
	Condition string        `json:"condition,omitempty"` // what must also hold for the class, if it depends on more than the reply
	Phase     Phase         `json:"phase,omitempty"`
	Command   string        `json:"command,omitempty"`
	Reply     string        `json:"reply,omitempty"` // verbatim, from a remote server
	Host      string        `json:"host,omitempty"`
	Address   string        `json:"address,omitempty"` // "ip:port"
	SourceIP  string        `json:"source_address,omitempty"`
	Session   string        `json:"session,omitempty"` // the primary's id of the dialogue
	Took      time.Duration `json:"took,omitempty"`
	Round     uint64        `json:"round,omitempty"` // probes of the same round, one for each address, share the number
	Last      bool          `json:"last,omitempty"`  // the last probe of its round
	Low       bool          `json:"low,omitempty"`   // a single case says little about the primary
	Row       int           `json:"row,omitempty"`   // of the reply catalogue
	Fix       string        `json:"fix,omitempty"`   // what a person can do about it
	Slow      time.Duration `json:"slow,omitempty"`  // it asked for no repetition before
}

// State is what we think of a primary.
type State uint8

// The states. The zero value is Degraded: what is not known takes mail into custody.
const (
	Degraded State = iota
	Up
	Down
	Recovering
)

var stateNames = []string{"degraded", "up", "down", "recovering"}

func (s State) String() string { return name(stateNames, int(s)) }

// MarshalText writes the state as its word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word that MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	i, err := index(stateNames, string(text))
	*s = State(i)
	return err
}

// Override is an operator's decision, which wins until it ends.
type Override struct {
	State  State     `json:"state"` // Up or Down
	Until  time.Time `json:"until"` // zero only of a window: until it is removed
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	Window string    `json:"window,omitempty"` // the id of the planned window that it is of
}

// Status is what we think of a primary at one instant, and why.
type Status struct {
	State         State     `json:"state"`
	Since         time.Time `json:"since"`
	Why           string    `json:"why"`            // for people; may quote a remote server
	Scope         Scope     `json:"scope,omitzero"` // of the trouble, if it is not all of the primary
	Throttled     Condition `json:"throttled,omitzero"`
	Misconfigured Condition `json:"misconfigured,omitzero"`
	Recipients    Condition `json:"recipients,omitzero"` // it has trouble with recipients, not with mail
	Network       Condition `json:"network,omitzero"`    // ours is broken: nothing is known of the primary
	Override      *Override `json:"override,omitempty"`
	Planned       *Override `json:"planned,omitempty"`  // of a planned window; an override goes before it
	BadRounds     int       `json:"bad_rounds"`         // bad probe rounds in a row
	GoodRounds    int       `json:"good_rounds"`        // good probe rounds in a row; while Recovering, those that were answered at all
	Trials        int       `json:"trials"`             // trial messages accepted since Recovering began
	ProbeTaken    bool      `json:"probe_taken"`        // the recipient of the probes has been taken once: it exists
	Relapses      int       `json:"relapses,omitempty"` // how often trouble came back soon after it had ended
	Mended        time.Time `json:"mended,omitzero"`    // when trouble ended last
}

// Waits reports whether deliveries have to wait for something that more of them
// would not mend: our own network, or a configuration that refuses whatever we
// send. An override ends all waiting.
func (s Status) Waits(now time.Time) bool {
	if s.overridden(now) {
		return false
	}
	return s.Network.Active() || s.Misconfigured.Stops && now.Before(s.Misconfigured.Until)
}

// Tries reports whether no more than one delivery at a time is in place: the
// one that shows whether we are still refused.
func (s Status) Tries(now time.Time) bool { return s.Misconfigured.Stops && !s.overridden(now) }

func (s Status) overridden(now time.Time) bool { return s.Steering(now) != nil }

// Effective is the state that counts: that of an override or a planned window
// while there is one.
func (s Status) Effective(now time.Time) State {
	if o := s.Steering(now); o != nil {
		return o.State
	}
	return s.State
}

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

func index(names []string, word string) (int, error) {
	for i, n := range names {
		if n == word {
			return i, nil
		}
	}
	return 0, fmt.Errorf("unknown word %q", word)
}
