// Package dsn tells senders what became of their mail: delivery status
// notifications (RFC 3464, 3461, 6533).
//
// A relay that notifies blindly floods innocent people whose addresses were
// forged, and tells lies when the primary refuses in its trouble what it would
// take in its health. So Decide, a pure function, says first whether a sender
// may be told. Whom it forbids to tell is kept as Refused, with the reason.
//
//	plan of an attempt -> Notifier.Conclude: Decide each recipient
//	                          may be told   Compose, a new message in the queue, and the recipient is final
//	                          may not       Refused, with the reason
//
// Guarantees: a recipient becomes Failed or Expired only when a notification
// about it is in the queue, on disk. A crash between the two makes no second
// one: its Cause is the same. What Compose writes can always be read back as
// MIME, whatever a sender or a primary has put into its parts, and is bounded.
//
// On failure: a notification that cannot be stored leaves its recipients
// Refused, with KeptUnsent. A notification that itself fails is never notified.
package dsn

import (
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Kind is what a notification says of its recipients.
type Kind string

// The kinds.
const (
	Failure Kind = "failure" // nobody tries any more
	Delay   Kind = "delay"   // it is still being tried
	Relayed Kind = "relayed" // the next system took it, and does not send notifications of success
)

// Outage is a time in which the primary took no mail. Until is zero while it lasts.
type Outage struct{ From, Until time.Time }

// Notice is what a notification says.
type Notice struct {
	Kind       Kind
	At         time.Time
	ID         string        // of the notification, for its Message-ID
	Hostname   string        // ours
	From       string        // address of the From field; "" is MAILER-DAEMON at our host name
	Message    queue.Message // the one that it is about
	Recipients []int         // by index
	Outages    []Outage      // that the message has waited for
	GivenUp    bool          // a person decided, not the primary
	// Original begins with the header of the message. nil if it cannot be read.
	Original []byte
	// Cut says that Original is not the whole message.
	Cut bool
}

// MaxOriginal is how many bytes of a message are returned at most: of a longer
// one only the header is.
const MaxOriginal = 1 << 20

// Composed is a notification as it is to be sent, with the null reverse-path.
type Composed struct {
	Content   []byte
	MessageID string
	EightBit  bool // BODY=8BITMIME
	UTF8      bool // SMTPUTF8
}
