package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The schemas. Within a number, members are only added.
const (
	SchemaStatus   = "mxkeep.status/1"
	SchemaMessage  = "mxkeep.queue.message/1"
	SchemaSummary  = "mxkeep.queue.summary/1"
	SchemaShape    = "mxkeep.queue.stats/1"
	SchemaChange   = "mxkeep.queue.change/1"
	SchemaEntry    = "mxkeep.ledger.entry/1"
	SchemaUpstream = "mxkeep.health.upstream/1"
	SchemaProbe    = "mxkeep.health.probe/1"
	SchemaSwitch   = "mxkeep.switch/1"
	SchemaReady    = "mxkeep.ready/1"
	SchemaError    = "mxkeep.error/1"
	SchemaFiles    = "mxkeep.db.stats/1"
	SchemaFinding  = "mxkeep.db.finding/1"
	SchemaChecked  = "mxkeep.db.checked/1"
	SchemaSalvage  = "mxkeep.db.salvage/1"
	SchemaLoss     = "mxkeep.db.loss/1"
	SchemaCompact  = "mxkeep.db.compaction/1"
	SchemaExplain  = "mxkeep.explain/1"
	SchemaGap      = "mxkeep.trace.gap/1"

	SchemaImport     = "mxkeep.queue.import/1"
	SchemaImportLine = "mxkeep.queue.import.line/1"

	SchemaBackup         = "mxkeep.backup.made/1"
	SchemaBackupProgress = "mxkeep.backup.progress/1"
	SchemaBackupList     = "mxkeep.backup.list/1"
)

// Schemas lists the schemas of all documents.
func Schemas() []string {
	return []string{SchemaStatus, SchemaMessage, SchemaSummary, SchemaShape, SchemaChange, SchemaEntry,
		SchemaUpstream, SchemaProbe, SchemaSwitch, SchemaReady, SchemaError,
		SchemaFiles, SchemaFinding, SchemaChecked, SchemaSalvage, SchemaLoss, SchemaCompact, SchemaImport, SchemaImportLine, SchemaGap, SchemaExplain,
		SchemaRecipientList, SchemaRecipientSource, SchemaRecipientCheck, SchemaRecipientSync, SchemaRecipientImport,
		SchemaBackup, SchemaBackupProgress, SchemaBackupList, SchemaVantage, SchemaWindow, SchemaIncident, SchemaHistory, SchemaEvidence}
}

// Time is an instant on the wire: RFC 3339 in UTC with milliseconds. The zero Time is null.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z"

// String writes the instant as it stands on the wire; "" if there is none.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// MarshalJSON writes the instant or null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.String() + `"`), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Time) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*t = Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(text)
}

// Seconds is a duration on the wire.
func Seconds(d time.Duration) float64 { return d.Seconds() }

// Duration is what Seconds wrote.
func Duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// Encode writes v as one line of JSON in which every letter that does not
// print is escaped, so that it may go to a terminal as it is.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil {
		return nil, err
	}
	return escape(b.Bytes()), nil
}

// escape writes what does not print as \uXXXX. The encoder left such letters
// only within strings. Line feeds end the line or are of the indentation.
func escape(text []byte) []byte {
	if !slices.ContainsFunc(text, func(b byte) bool { return b != '\n' && (b < ' ' || b > '~') }) {
		return text // nearly always
	}
	clean := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n' || unicode.IsPrint(r):
			clean = append(clean, text[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			clean = fmt.Appendf(clean, `\u%04x\u%04x`, high, low)
		default:
			clean = fmt.Appendf(clean, `\u%04x`, r)
		}
		text = text[size:]
	}
	return clean
}

// Message is a held message, or one that was.
type Message struct {
	Schema     string      `json:"schema"`
	ID         string      `json:"id"`
	State      string      `json:"state"`
	Upstream   string      `json:"upstream"`
	ReceivedAt Time        `json:"received_at"`
	ExpiresAt  Time        `json:"expires_at"`          // null when nothing is pending
	NextAt     Time        `json:"next_attempt_at"`     // null when it is not the clock that decides
	NextReason string      `json:"next_attempt_reason"` // scheduled, now, active, on_recovery, paused, held, refused, none
	Attempts   int         `json:"attempts"`
	SizeBytes  int64       `json:"size_bytes"`
	From       string      `json:"from"` // "" is the null reverse-path
	MessageID  string      `json:"message_id"`
	HeldReason string      `json:"held_reason"`
	HeldAt     Time        `json:"held_at"`
	DeletedAt  Time        `json:"deleted_at"`
	KeptUntil  Time        `json:"kept_until"` // when a refused message goes to the trash, or a deleted one loses its content
	Purged     bool        `json:"purged"`
	Damaged    bool        `json:"damaged"` // the content was last found to differ from what was received
	Digest     string      `json:"sha256"`
	Client     Origin      `json:"client"`
	Auth       *Auth       `json:"auth"` // null if nobody looked
	Recipients []Recipient `json:"recipients"`
}

// Origin is who gave us a message.
type Origin struct {
	IP     string `json:"ip"`
	Host   string `json:"host"`
	Hello  string `json:"helo"`
	TLS    string `json:"tls"`
	Reason string `json:"accepted_because"`
}

// Recipient is one forward-path and where it stands.
type Recipient struct {
	Address   string `json:"address"`
	State     string `json:"state"`
	LastReply *Reply `json:"last_reply"`
}

// Reply is the outcome of an attempt for one recipient.
type Reply struct {
	At             Time    `json:"at"`
	Outcome        string  `json:"outcome"`
	Scope          string  `json:"scope"`
	Command        string  `json:"command"`
	Code           int     `json:"code"`
	Enhanced       string  `json:"enhanced"`
	Text           string  `json:"text"`
	Host           string  `json:"mx"`
	Address        string  `json:"ip"`
	TookSeconds    float64 `json:"took_seconds"`
	MaybeDuplicate bool    `json:"maybe_duplicate"`
	Kept           string  `json:"kept"` // why a refused recipient is kept: hold, off, null-sender, unauthenticated, notify-never, incident, spike, rate, unsent
}

// Summary is the last line of a listing.
type Summary struct {
	Schema        string `json:"schema"`
	Shown         int    `json:"shown"`
	Matching      int    `json:"matching"`
	MatchingBytes int64  `json:"matching_bytes"`
	Queued        int64  `json:"queued"` // messages that are not final, whatever the filter
	QueuedBytes   int64  `json:"queued_bytes"`
	Damaged       int    `json:"damaged"` // records that cannot be read, whether they would match or not
}

// Entry is a line of the ledger.
type Entry struct {
	Schema     string   `json:"schema"`
	Seq        uint64   `json:"seq"`
	At         Time     `json:"at"`
	Event      string   `json:"event"`
	ID         string   `json:"id"`
	Attempt    int      `json:"attempt"`
	Actor      string   `json:"actor"`
	Reason     string   `json:"reason"`
	Upstream   string   `json:"upstream"`
	From       string   `json:"from"`
	Recipients []string `json:"recipients"`
	Results    []Reply  `json:"results"`
	MessageID  string   `json:"message_id"`
	SizeBytes  int64    `json:"size_bytes"`
	Client     Origin   `json:"client"`
	Auth       *Auth    `json:"auth"` // null if nobody looked
}

// Select chooses messages: rules of queue.ParseFilter, or everything.
type Select struct {
	Where []string `json:"where,omitempty"`
	All   bool     `json:"all,omitempty"`
}

// ListRequest asks for a listing.
type ListRequest struct {
	Select
	Sort    string `json:"sort,omitempty"` // age, next, expires, size, from; "" is age
	Reverse bool   `json:"reverse,omitempty"`
	Limit   int    `json:"limit,omitempty"` // 0 is no limit
}

// ChangeRequest asks to change messages. It needs a selection.
type ChangeRequest struct {
	Select
	Verb    string `json:"verb"` // hold, release, retry, delete, undelete, bounce
	Reason  string `json:"reason,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
	IfCount *int   `json:"if_count,omitempty"` // change nothing if another number matches; delete and bounce need it
	Now     bool   `json:"now,omitempty"`      // retry although the upstream is down
	Limit   int    `json:"limit,omitempty"`    // at most so many, the oldest first; 0 is no limit

	// SpreadSeconds is the time over which the attempts of a retry are spread.
	SpreadSeconds float64 `json:"spread_seconds,omitempty"`
}

// Change is what a ChangeRequest did, or would do.
type Change struct {
	Schema       string    `json:"schema"`
	Verb         string    `json:"verb"`
	DryRun       bool      `json:"dry_run"`
	Count        int       `json:"count"` // messages the verb applies to
	Bytes        int64     `json:"bytes"`
	Recipients   int       `json:"recipients"`
	Oldest       Time      `json:"oldest_received_at"`
	Newest       Time      `json:"newest_received_at"`
	KeptUntil    Time      `json:"kept_until"`     // of delete: until then undelete brings them back
	Inapt        int       `json:"not_applicable"` // chosen, but not in a state that allows the verb
	Done         int       `json:"done"`
	Gone         int       `json:"gone"`          // left, or changed, between looking and acting
	Waiting      []string  `json:"waiting"`       // upstreams that take nothing now; without Now, retry then changes nothing
	WaitingCount int       `json:"waiting_count"` // messages left out for that
	MayNot       []Reason  `json:"may_not"`       // of bounce: why senders may not be told, about so many messages
	IDs          []string  `json:"ids"`
	Sample       []Message `json:"sample"`
}

// ShapeRequest asks for the age shape of the queue.
type ShapeRequest struct {
	Select
	By string `json:"by,omitempty"` // domain, from, reply, client, state; "" is domain
}

// Shape counts messages by age.
type Shape struct {
	Schema       string   `json:"schema"`
	By           string   `json:"by"`
	LimitMinutes []int    `json:"limit_minutes"` // upper ends of the columns; one more column follows
	All          Row      `json:"all"`
	Rows         []Row    `json:"rows"` // the largest first
	Why          []Reason `json:"why"`
	Verdict      string   `json:"verdict"` // what the shape of the whole means; "" if it says nothing
}

// Row is one line of a Shape.
type Row struct {
	Name  string `json:"name"`
	Total int    `json:"total"`
	Ages  []int  `json:"ages"`
}

// Reason says why so many messages wait.
type Reason struct {
	Text     string `json:"text"`
	Messages int    `json:"messages"`
}

// ProbeRequest asks for a dialogue now.
type ProbeRequest struct {
	Upstream  string `json:"upstream,omitempty"` // "" is the only one
	Recipient string `json:"recipient,omitempty"`
}

// ProbeReport is what a probe saw.
type ProbeReport struct {
	Schema   string   `json:"schema"`
	Upstream string   `json:"upstream"`
	OK       bool     `json:"ok"`
	Signals  []Signal `json:"signals"`
	Topics   []Signal `json:"topics"` // the last of each source and what it looks at
	Dialogue []Line   `json:"dialogue"`
}

// Line is one line of an SMTP dialogue.
type Line struct {
	AfterSeconds float64 `json:"after_seconds"` // since the probe began
	Text         string  `json:"text"`          // as "S: ..." or "C: ..." or an event such as "connect"
}

// Signal is one observation of a primary.
type Signal struct {
	At          Time    `json:"at"`
	Source      string  `json:"source"`
	Class       string  `json:"class"`
	Phase       string  `json:"phase"`
	Command     string  `json:"command"`
	Reply       string  `json:"reply"`
	Host        string  `json:"mx"`
	Address     string  `json:"ip"`
	TookSeconds float64 `json:"took_seconds"`
}

// OverrideRequest sets what counts as the state of an upstream.
type OverrideRequest struct {
	Upstream   string  `json:"upstream,omitempty"` // "" is the only one
	State      string  `json:"state"`              // up, down, auto
	ForSeconds float64 `json:"for_seconds,omitempty"`
	Reason     string  `json:"reason"`
	DryRun     bool    `json:"dry_run,omitempty"`
}

// PauseRequest stops accepting or delivering for a time; ResumeRequest ends that.
type PauseRequest struct {
	ResumeRequest
	ForSeconds float64 `json:"for_seconds"`
	Reason     string  `json:"reason"`
}

// ResumeRequest says what goes on.
type ResumeRequest struct {
	Inbound  bool   `json:"inbound,omitempty"`
	Outbound bool   `json:"outbound,omitempty"`
	Upstream string `json:"upstream,omitempty"` // of outbound; "" is all
	DryRun   bool   `json:"dry_run,omitempty"`
}

// Switch answers a PauseRequest, a ResumeRequest and an OverrideRequest.
type Switch struct {
	Schema    string   `json:"schema"`
	Did       string   `json:"did"` // pause, resume, override
	DryRun    bool     `json:"dry_run"`
	Inbound   bool     `json:"inbound"`
	Upstreams []string `json:"upstreams"`
	State     string   `json:"state"` // of an override
	Until     Time     `json:"until"`
}

// Ready answers that mail is accepted.
type Ready struct {
	Schema string `json:"schema"`
	Ready  bool   `json:"ready"`
}
