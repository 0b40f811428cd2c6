// Package failpoint names the steps of a message at which a test kills the
// process, to count the mail afterwards.
//
// It is empty unless it is built with -tags failpoint. Then the environment
// variable MXKEEP_FAILPOINT, read once, arms one point: "store.accepting"
// or, for its third visit, "store.accepting:3". There the process kills itself
// with SIGKILL: nothing is flushed, closed or answered any more.
package failpoint

// Variable is the environment variable that arms a point.
const Variable = "MXKEEP_FAILPOINT"

// Point is a step at which the process can be killed.
type Point string

// The points, in the order of the way of a message, then those of the files.
const (
	InboundConnected Point = "inbound.connected" // the guard has let a client in
	InboundMail      Point = "inbound.mail"      // MAIL is accepted and not answered
	InboundRcpt      Point = "inbound.rcpt"      // RCPT is accepted and not answered
	InboundContent   Point = "inbound.content"   // the first octets of the content are here
	InboundReceived  Point = "inbound.received"  // all content is with the store, which has not been asked to commit
	InboundCommitted Point = "inbound.committed" // the message is ours and the client does not know it
	InboundAnswered  Point = "inbound.answered"  // the 250 has been written

	StoreChunk     Point = "store.chunk"     // within the transaction that writes a chunk of content
	StoreAccepting Point = "store.accepting" // within the transaction that accepts
	StoreClaiming  Point = "store.claiming"  // within the transaction that claims
	StoreSettling  Point = "store.settling"  // within the transaction that settles
	StoreSettled   Point = "store.settled"   // it is on disk

	OutboundClaimed   Point = "outbound.claimed"   // nobody has been dialled
	OutboundRcpt      Point = "outbound.rcpt"      // the primary has accepted recipients and waits for the content
	OutboundContent   Point = "outbound.content"   // the content is sent, but for the last octets of its dot
	OutboundDot       Point = "outbound.dot"       // the final dot is flushed, its reply not read
	OutboundDelivered Point = "outbound.delivered" // the reply is read and nothing is settled

	PassConsent Point = "pass.consent" // the primary waits for the content of a sender's message
	PassContent Point = "pass.content" // the content is sent, but for the last octets of its dot
	PassDot     Point = "pass.dot"     // the final dot is flushed, its reply not read
	PassTaken   Point = "pass.taken"   // the reply is read, nothing is written down
	PassNoted   Point = "pass.noted"   // the ledger line is on disk, and the client does not know it

	HealthSaving Point = "health.saving" // what is thought of a primary has changed and is not on disk
	HealthSaved  Point = "health.saved"

	GenerationMade   Point = "generation.made"   // the file is complete and has no name
	GenerationNamed  Point = "generation.named"  // it has its name, and the folder is not synced
	GenerationBegun  Point = "generation.begun"  // it is open and has no mail
	StoreClosing     Point = "store.closing"     // before the last transaction
	GenerationClosed Point = "generation.closed" // one file is closed, others may be open

	OpenDrafts Point = "open.drafts" // within the transaction that removes drafts of a killed process
	OpenLeases Point = "open.leases" // within the transaction that ends a lease of a killed process
)

// Lie is no point: it makes the store call a message ours before it is on
// disk, so that a test can prove that it would notice.
const Lie Point = "lie"

// Points lists all points.
func Points() []Point {
	return []Point{InboundConnected, InboundMail, InboundRcpt, InboundContent, InboundReceived, InboundCommitted, InboundAnswered,
		StoreChunk, StoreAccepting, StoreClaiming, StoreSettling, StoreSettled,
		OutboundClaimed, OutboundRcpt, OutboundContent, OutboundDot, OutboundDelivered,
		PassConsent, PassContent, PassDot, PassTaken, PassNoted,
		HealthSaving, HealthSaved,
		GenerationMade, GenerationNamed, GenerationBegun, StoreClosing, GenerationClosed,
		OpenDrafts, OpenLeases}
}

// Epitaph is the line that Hit leaves on the standard error before it kills.
func Epitaph(p Point) string { return "failpoint: killed at " + string(p) }
