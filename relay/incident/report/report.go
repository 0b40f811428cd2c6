// Package report makes the account of an incident for people: management, the
// provider, and whoever asks for compensation.
//
//	Builder   takes the evidence, incident.Piece by piece, and makes a Report, messages.csv and probes.csv
//	Report    all that a page shows; Markdown, HTML and JSON are pure functions of it
//	Bundle    writes all forms with their sums into one file
//	Verify    checks such a file without the relay
//
// It is made from what was recorded, and from nothing else: what is not recorded
// is called so. Sums and percentiles are counted from the rows of messages.csv
// alone, so that a stranger can count them again.
//
// Memory does not grow with the number of messages: rows are sorted in files
// (relay/spill, 16 MiB and up to 8 MiB of buffers each for the lines, the domains and
// the addresses), and what is counted is kept in a fixed number of bins, but for
// delays: 16 bytes for each whole second that occurs, 45 MB for 30 days.
package report

import (
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// Schema is that of the JSON of a Report.
const Schema = "mxkeep.incident.report/1"

// Audience says for whom a page is.
type Audience string

// The audiences.
const (
	Everybody  Audience = ""
	Management Audience = "management" // the summary alone
	Provider   Audience = "microsoft"  // timeline, evidence and figures
)

// Report is the account of an incident.
type Report struct {
	Schema   string    `json:"schema"`
	Prepared time.Time `json:"prepared_at"`
	Version  string    `json:"version"`
	Relay    string    `json:"relay"` // host name
	Domains  []string  `json:"domains"`
	Redacted bool      `json:"redacted"` // addresses are pseudonyms

	Incident health.Incident    `json:"incident"` // without Moments and Figures
	Timeline []health.Moment    `json:"timeline"`
	Changes  []health.Change    `json:"changes"`
	Replies  []incident.Replies `json:"replies"`

	Mail    Mail     `json:"mail"`   // counted from messages.csv
	Probes  Probes   `json:"probes"` // counted from probes.csv
	Bins    Bins     `json:"bins"`
	Passed  int64    `json:"passed_recipients"` // handed on while the sender waited; not in messages.csv
	Aside   int64    `json:"set_aside_recipients"`
	AtClose *Closing `json:"at_close"` // what was reckoned when it was closed; null before
	Chain   *Chain   `json:"ledger"`   // null if there is no such ledger
	Through uint64   `json:"ledger_read_through"`

	Unread    int64 `json:"unread_records"`
	NoHistory bool  `json:"no_history"`
}

// Closing is the account that was reckoned when the incident was closed.
type Closing struct {
	At      time.Time        `json:"at"`
	Account incident.Account `json:"recipients"`
}

// Chain is the stretch of the ledger with all lines of the incident.
type Chain struct {
	Lines   int64    `json:"lines"`
	First   uint64   `json:"first"`
	Last    uint64   `json:"last"`
	Anchor  string   `json:"anchor"` // hash of the line before the first
	Head    string   `json:"head"`   // hash of the last line
	Missing []string `json:"missing"`
}

// Bins are equal stretches of the time of the incident.
type Bins struct {
	From  time.Time `json:"from"`
	Width float64   `json:"width_seconds"`
	Count int       `json:"count"`
}

// binCount is how many bins there are.
const binCount = 96

// binsOf divides the time of an incident, until it was closed or now.
func binsOf(i health.Incident, now time.Time) Bins {
	until := now
	if !i.ClosedAt.IsZero() {
		until = i.ClosedAt
	}
	length := max(until.Sub(i.Began), time.Minute)
	return Bins{From: i.Began.UTC(), Width: length.Seconds() / binCount, Count: binCount}
}

// valid reports whether they are what binsOf makes.
func (b Bins) valid() bool { return b.Count == binCount && b.Width > 0 && b.Width < 1e7 }

// in is the bin of an instant; false if it is in none.
func (b Bins) in(at time.Time) (int, bool) {
	n := at.Sub(b.From).Seconds() / b.Width
	switch {
	case n < 0, n > float64(b.Count):
		return 0, false
	case n == float64(b.Count): // the last instant is in the last bin
		return b.Count - 1, true
	}
	return int(n), true
}

// edge is the first edge of a bin that is not before an instant: 0 to Count+1,
// which is after all.
func (b Bins) edge(at time.Time) int {
	n := at.Sub(b.From).Seconds() / b.Width
	switch {
	case n <= 0:
		return 0
	case n > float64(b.Count):
		return b.Count + 1
	}
	whole := int(n)
	if float64(whole) < n {
		whole++
	}
	return whole
}

// at is the instant of an edge.
func (b Bins) at(edge float64) time.Time {
	return b.From.Add(time.Duration(edge * b.Width * float64(time.Second)))
}
