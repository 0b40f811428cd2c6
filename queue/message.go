package queue

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Envelope is the RFC 5321 envelope, plus what ESMTP promised the sender and must travel on.
type Envelope struct {
	Upstream    string      `json:"upstream"`     // configured name of the primary that will take it
	ReversePath string      `json:"reverse_path"` // as it is written between the angle brackets; "" is the null reverse-path
	Recipients  []Recipient `json:"recipients"`
	Params      Params      `json:"params"`
	Origin      Origin      `json:"origin"`
	Cause       Cause       `json:"cause,omitzero"`
}

// Params are the MAIL parameters to pass on.
type Params struct {
	Body       string `json:"body,omitempty"` // "", "7BIT" or "8BITMIME" (RFC 6152)
	SMTPUTF8   bool   `json:"smtputf8,omitempty"`
	Ret        string `json:"ret,omitempty"`   // "", "FULL" or "HDRS" (RFC 3461 4.3)
	EnvID      string `json:"envid,omitempty"` // decoded (RFC 3461 4.4)
	RequireTLS bool   `json:"require_tls,omitempty"`
}

// Origin says where a message came from and why it was taken.
type Origin struct {
	Address string `json:"address,omitempty"` // the client's IP address
	Host    string `json:"host,omitempty"`    // its name by reverse DNS; "" if unknown
	Hello   string `json:"hello,omitempty"`   // what it said in EHLO or HELO
	TLS     string `json:"tls,omitempty"`     // for example "TLS1.3"; "" is plaintext
	Reason  string `json:"reason,omitempty"`  // the admission rule that decided

	Auth Verdicts `json:"auth,omitzero"`
}

// Cause makes a notification unique: no second message of the same cause is accepted.
type Cause struct {
	ID      ID     `json:"id,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Kind    string `json:"kind,omitempty"`
}

// Recipient is one forward-path with what became of it.
type Recipient struct {
	ForwardPath string   `json:"forward_path"`     // as it is written between the angle brackets
	ORcpt       string   `json:"orcpt,omitempty"`  // "rfc822;..." with the address decoded (RFC 3461 4.2)
	Notify      []string `json:"notify,omitempty"` // NEVER, or some of SUCCESS FAILURE DELAY (RFC 3461 4.1)
	Last        Result   `json:"last,omitzero"`
	Deleted     bool     `json:"deleted,omitempty"` // in the trash; Last still says what was before
}

// Reply is an SMTP reply as plain data, verbatim.
type Reply struct {
	Command  string `json:"command,omitempty"` // the command it answered, "connect" or "greeting"
	Code     int    `json:"code,omitempty"`
	Enhanced string `json:"enhanced,omitempty"`
	Text     string `json:"text,omitempty"` // without codes; lines joined by "\n"
}

// String writes the reply in one line. Its text comes from a remote server:
// escape it before a terminal sees it.
func (r Reply) String() string {
	var b strings.Builder
	if r.Code != 0 {
		fmt.Fprintf(&b, "%d ", r.Code)
	}
	if r.Enhanced != "" {
		b.WriteString(r.Enhanced + " ")
	}
	b.WriteString(strings.ReplaceAll(r.Text, "\n", " / "))
	return strings.TrimSpace(b.String())
}

// Action is what an attempt did to a recipient.
type Action uint8

// The actions; Delivered and the later ones are final.
const (
	Queued Action = iota // no attempt has ended
	Deferred
	Refused // a 5xx that we do not believe yet, or an expiry: kept until a person or a rule decides
	Delivered
	Failed
	Expired
)

var actionNames = []string{"queued", "deferred", "refused", "delivered", "failed", "expired"}

func (a Action) String() string { return name(actionNames, int(a)) }

// MarshalText writes the action as its word.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the word that MarshalText wrote.
func (a *Action) UnmarshalText(text []byte) error {
	i, err := index(actionNames, string(text))
	*a = Action(i)
	return err
}

// Final reports whether nothing is left to do for the recipient.
func (a Action) Final() bool { return a >= Delivered }

// Scope says what a failure is about. Only ScopeUpstream failures are evidence of an outage.
type Scope uint8

// The scopes. ScopeNone goes with Delivered.
const (
	ScopeNone         Scope = iota
	ScopeUpstream           // the primary or the way to it
	ScopeOwn                // our address, certificate or configuration
	ScopeMessage            // this message, whoever gets it
	ScopeOneRecipient       // this recipient only
)

var scopeNames = []string{"", "upstream", "own", "message", "recipient"}

func (s Scope) String() string { return name(scopeNames, int(s)) }

// MarshalText writes the scope as its word.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word that MarshalText wrote.
func (s *Scope) UnmarshalText(text []byte) error {
	i, err := index(scopeNames, string(text))
	*s = Scope(i)
	return err
}

// Result is the outcome of one attempt for one recipient.
type Result struct {
	At             time.Time     `json:"at,omitzero"`
	Action         Action        `json:"action"`
	Scope          Scope         `json:"scope,omitempty"`
	Reply          Reply         `json:"reply,omitzero"`
	Host           string        `json:"host,omitempty"`    // next hop by name
	Address        string        `json:"address,omitempty"` // next hop, "ip:port"
	RemoteSession  string        `json:"remote_session,omitempty"`
	Took           time.Duration `json:"took,omitempty"`
	MaybeDuplicate bool          `json:"maybe_duplicate,omitempty"` // the primary may have taken it although we do not know
	Kept           KeptFor       `json:"kept,omitempty"`            // why a Refused one is kept
}

// Acceptance is what is known only at the end of the data.
type Acceptance struct {
	At        time.Time
	Envelope  Envelope
	Trace     []byte // header lines to prepend, each ended by CRLF
	MessageID string // Message-ID field with its brackets, "" if absent
	Held      string // reason to hold it at once, "" for none
	Lifetime  time.Duration
}

// Digest is a SHA-256 sum.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("digest of %d characters", len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// Message is an accepted message. It is a copy: changing it changes nothing in the store.
type Message struct {
	ID          ID            `json:"id"`
	Envelope    Envelope      `json:"envelope"`
	AcceptedAt  time.Time     `json:"accepted_at"`
	NextAttempt time.Time     `json:"next_attempt"`
	LeasedUntil time.Time     `json:"leased_until,omitzero"` // of an attempt that has not been settled
	Lifetime    time.Duration `json:"lifetime"`
	Extended    time.Duration `json:"extended,omitempty"`
	Attempts    int           `json:"attempts,omitempty"` // claims so far; names the attempt that a Settlement settles
	Step        int           `json:"step,omitempty"`     // how far the schedule has been walked
	Size        int64         `json:"size"`               // bytes as received
	MessageID   string        `json:"message_id,omitempty"`
	Digest      Digest        `json:"digest"` // of the bytes as received
	Held        string        `json:"held,omitempty"`
	HeldAt      time.Time     `json:"held_at,omitzero"`
	DeletedAt   time.Time     `json:"deleted_at,omitzero"`
	Purged      bool          `json:"purged,omitempty"`  // the content is gone
	Damaged     bool          `json:"damaged,omitempty"` // the content was last found to differ from Digest
	Stops       Stops         `json:"-"`                 // of its upstream; not stored with the message, but filled in by who reads it
}

// Expires is the instant after which a deferral becomes an expiry. While a
// message is held, or its upstream takes no mail, its clock stands still. Holds
// that are over, as far as they were not within stops, are in Extended.
func (m Message) Expires(now time.Time) time.Time {
	stops := m.Stops
	if m.Held != "" {
		stops = append(stops[:len(stops):len(stops)], Stop{From: m.HeldAt})
	}
	return m.AcceptedAt.Add(m.Lifetime + m.Extended + stops.Within(m.AcceptedAt, now))
}

// Domain is the domain of the first recipient, in lower case.
func (m Message) Domain() string {
	if len(m.Envelope.Recipients) == 0 {
		return ""
	}
	path := m.Envelope.Recipients[0].ForwardPath
	return strings.ToLower(path[strings.LastIndexByte(path, '@')+1:])
}

// Pending lists the indexes of the recipients that an attempt is for.
func (m Message) Pending() []int {
	var pending []int
	for i, r := range m.Envelope.Recipients {
		if r.pending() {
			pending = append(pending, i)
		}
	}
	return pending
}

func (r Recipient) pending() bool {
	return !r.Deleted && (r.Last.Action == Queued || r.Last.Action == Deferred)
}

// Summary is what a dispatcher needs to choose among due messages.
type Summary struct {
	ID         ID        `json:"id"`
	Due        time.Time `json:"due"`
	AcceptedAt time.Time `json:"accepted_at"`
	Domain     string    `json:"domain"`
	Recipients int       `json:"recipients"` // pending ones
	Size       int64     `json:"size"`
	Attempts   int       `json:"attempts"`
}

// Summarize makes the summary of a message.
func Summarize(m Message) Summary {
	return Summary{ID: m.ID, Due: m.NextAttempt, AcceptedAt: m.AcceptedAt, Domain: m.Domain(),
		Recipients: len(m.Pending()), Size: m.Size, Attempts: m.Attempts}
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
