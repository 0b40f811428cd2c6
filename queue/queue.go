// Package queue holds accepted mail until every recipient has an outcome.
//
// Guarantee: once Draft.Commit returns nil, the message survives a power cut
// and stays here until each recipient is Delivered, Failed, Expired or Deleted.
// If it returns an error the message is not ours: the sender keeps it. Nothing
// of it remains, but for one case: when the disk fails during Commit, only a
// restart shows whether it was kept, and then the sender's next try is a duplicate.
// What the disk damages afterwards is found, kept, and told: see Stats.
//
// The package is the contract: types, the pure decisions Plan and Filter, and
// the Store interface. Sub-package bolt keeps the mail in bbolt, sub-package
// queuetest states the contract as tests and holds it in memory.
//
// What may be said of a recipient, and where a message then counts:
//
//	Queued    no attempt has ended yet               due
//	Deferred  the last attempt ended with 4xx        due later
//	Refused   a 5xx or an expiry that we keep        a person or a rule decides
//	Delivered the upstream answered 250              final
//	Failed    the sender has been told               final
//	Expired   the sender has been told               final
//	Deleted   an operator put it into the trash      final, undone for 72 hours
package queue

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Errors a caller decides on. Every other error of a Store means that its disk
// or its files cannot be trusted: answer 451 and stop.
var (
	ErrNotFound = errors.New("no such message")
	ErrStale    = errors.New("settlement of an attempt that is no longer the last one")
	ErrExists   = errors.New("such a message exists, or existed")
	ErrState    = errors.New("the message is not in a state that allows it")
	ErrFull     = errors.New("not enough free space")
	ErrDamaged  = errors.New("content differs from its digest")
	ErrClosed   = errors.New("store is closed")
	ErrNoFile   = errors.New("no such file")
)

// Store keeps mail and its ledger. All methods may be called concurrently.
// Errors are one of the sentinels above, the context's, or a failure of the
// disk, after which the store takes no further change.
type Store interface {
	// Create starts a message under a fresh ID. ErrFull when the disk has no room for it.
	Create(ctx context.Context) (Draft, error)
	// Room reports whether a message of that size for the upstream would be taken
	// now: ErrFull if not, and then a *LimitError if a limit and not the disk is the
	// reason. A size of 0 is an unknown one, and "" an upstream that is not known yet.
	Room(ctx context.Context, upstream string, size int64) error
	// Due lists what is due for the upstream at now, earliest first, without
	// changing anything. Held and leased messages are not due.
	Due(ctx context.Context, upstream string, now time.Time) iter.Seq2[Summary, error]
	// Claim postpones each message that is due by lease, counts the attempt and
	// returns it. What has gone, is held, or is under an unexpired lease is left
	// out. What is returned beside an error has been claimed.
	Claim(ctx context.Context, ids []ID, lease time.Duration) ([]Message, error)
	// Content reads the trace header lines and then the bytes as received. The
	// last Read fails with ErrDamaged if those bytes differ from their digest.
	// ErrNotFound if the content has been purged.
	Content(ctx context.Context, id ID) (io.ReadCloser, error)
	// Settle writes the outcome of an attempt and its ledger line. ErrStale if
	// the message has been claimed again since, or not at all. A recipient whose
	// state is final keeps it.
	Settle(ctx context.Context, s Settlement) error
	// Amend writes an operator's act and its ledger line. ErrState if it does not apply.
	Amend(ctx context.Context, a Amendment) error
	// Message returns one message. ErrNotFound some time after all its recipients
	// have become final and nothing can be brought back: then the ledger alone
	// knows of it. Settle and Amend may say so a moment earlier.
	Message(ctx context.Context, id ID) (Message, error)
	// Messages lists what matches, in order of ID, while the store goes on.
	// Messages whose recipients are all Delivered, Failed or Expired are
	// listed only if the filter asks for such a state. An error that is
	// ErrDamaged is about one record: the listing goes on behind it.
	Messages(ctx context.Context, f Filter) iter.Seq2[Message, error]
	// Adopt brings in a message that was accepted elsewhere, with its recipients as
	// they stood there, and returns its ID here. That is its own, or Message.Alias
	// where another message has it or it is of the future. ErrExists, and nothing
	// is written, if the store holds the message in any state, if its ledger has a
	// line about it, or if its Cause is not new: nothing is adopted twice. ErrState
	// if Adoption.Check refuses it. ErrDamaged if the content, the bytes as they were
	// received, has not its size and digest, unless Message.Damaged says so already.
	// An attempt that was running is interrupted. ErrFull if the disk has no room;
	// the limits do not apply: the mail has been taken, and has nowhere else to be.
	Adopt(ctx context.Context, a Adoption, content io.Reader) (ID, error)
	// Note adds a ledger line that belongs to no held message. Seq is given by the store.
	Note(ctx context.Context, e Entry) error
	// Ledger lists lines in the order in which they were written. An error that
	// is ErrDamaged is about one line: the listing goes on behind it.
	Ledger(ctx context.Context, f LedgerFilter) iter.Seq2[Entry, error]
	// Purge removes the content of trash whose time is over, reports of how many
	// messages, and moves kept refusals whose time is over into the trash.
	Purge(ctx context.Context, now time.Time) (int, error)
	// Stats reads counters that are part of the transactions.
	Stats(ctx context.Context) (Stats, error)
	// Wake gets a token (buffer of one) whenever something may have become due for the upstream.
	Wake(upstream string) <-chan struct{}
	Close() error
}

// Draft is a message that is being received. It is used by one goroutine.
// Either Commit or Abort ends it; Abort after Commit does nothing.
type Draft interface {
	ID() ID
	// Write fails with ErrFull when the disk has no room for more. A draft whose
	// Write has failed cannot be committed.
	io.Writer
	// Content reads what has been written so far.
	Content() (io.ReadCloser, error)
	// Commit makes the message durable and ours. ErrExists if the envelope's
	// Cause is not new, ErrState if the draft has ended, a *LimitError if it would
	// be more than the limits allow, the error of a Write that has failed. A message
	// with a Cause is our own, and no limit keeps it out. After any error the
	// message is not ours, and the draft has ended.
	Commit(ctx context.Context, a Acceptance) error
	Abort() error
}

// Stats is what the counters say at one instant.
type Stats struct {
	Account    Account
	Messages   map[State]int64 // messages that are not final, by derived state
	Bytes      int64           // content of messages that are not final, in bytes
	Upstreams  map[string]Held // messages that are not final, by upstream
	DiskUsed   int64           // bytes of the files that hold mail
	LedgerUsed int64           // bytes of the ledger's own files
	DiskFree   int64           // bytes that the file system has left
	Oldest     time.Time       // AcceptedAt of the first message, by ID, that is not final; zero if none

	Damaged    int64   // messages that are not final whose content was found to differ from its digest
	Unreadable int64   // messages whose record was found to differ from its checksum; they count as before
	Aside      []Aside // what has been set aside and is not closed, oldest first
}

// Account counts recipients. At every instant
// Accepted = Delivered + Queued + Held + Refused + Failed + Expired + Deleted + SetAside.
type Account struct {
	Accepted, Delivered, Queued, Held, Refused, Failed, Expired, Deleted, SetAside int64
	Passed                                                                         int64 // handed to the primary within the sender's session; outside the equation
}

// Missing is the number of accepted recipients without a state. Anything but
// zero is a loss or a fault in our books.
func (a Account) Missing() int64 {
	return a.Accepted - a.Delivered - a.Queued - a.Held - a.Refused - a.Failed - a.Expired - a.Deleted - a.SetAside
}

// Add counts n recipients in the given state.
func (a *Account) Add(s State, n int64) {
	switch s {
	case StateDelivered:
		a.Delivered += n
	case StateHeld:
		a.Held += n
	case StateRefused:
		a.Refused += n
	case StateFailed:
		a.Failed += n
	case StateExpired:
		a.Expired += n
	case StateDeleted:
		a.Deleted += n
	default:
		a.Queued += n
	}
}
