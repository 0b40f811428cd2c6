// Package inbound accepts mail: it is the SMTP server that senders talk to.
//
// Guarantee: 250 to the end of the data is answered only after Draft.Commit
// returned nil, or after the primary itself said 250 to a message that was passed
// to it. Whatever nobody foresaw is 451, and the sender comes again.
//
// Three layers share a connection, and each knows only its own affair:
//
//	conn     the framing: lines, chunks, the end of the data, TLS, deadlines
//	engine   the grammar of commands (go-smtp, which only adapter.go knows)
//	session  the policy, as plain methods that return a reply
//
// conn stands between the network and the engine and hands it one command line
// at a time. So it alone decides where a command ends and content begins, and
// no byte of content can become a command, whatever goes wrong:
//
//	a BDAT chunk that is cut      conn counts the octets: what is not whole is never queued
//	time is over within content   the connection is closed, the rest is never read
//	a bare CR or LF in content    read to the true end, then 550 5.6.11
//	STARTTLS                      conn does the handshake; if it fails, the connection is closed
//	a control byte in a command   refused before the engine could echo it
//	BDAT content broken off       no further BDAT on this connection: 421
//
// RCPT TO:<postmaster> without a domain (RFC 5321 4.5.1) is for the postmaster of
// the relay domain that this host is in, or else of the first one.
//
// What is logged, by event. Text from outside is escaped before it is logged.
//
//	message.accepted         id first: a message is ours
//	message.passed           the primary has it, and the client is told what it said
//	message.filtered         what a content filter has decided, unless it accepts
//	message.unnoted          the primary has it, and the ledger could not be written
//	message.refused          content that was refused at its end, or could not be stored
//	session.refused          one line for each session in which something was refused, with the reasons
//	session.panic            a fault of ours ended one session
//	session.tls              a handshake failed
//	session.proxy            a proxy did not say for whom it comes
//	connections.refused      at most one line a minute, with how many since the last one
//	sender.returned          a deferred sender keeps coming back: its mail is taken
//	intake.failed            the store failed: nothing more is accepted
//	intake.paused, intake.resumed
//	auth.panic               a fault of ours in a check of who wrote a message; its result is temperror
//	engine.error             go-smtp met something it did not expect
//	certificate.self_signed  no certificate was given; senders that verify will not trust this one
//	certificate.loaded, certificate.invalid
package inbound

import "github.com/mxkeep/mxkeep/relay/smtp"

// Reasons are words that count refusals and explain in Origin.Reason why a message was taken.
const (
	reasonRelayDenied  = "relay_denied"
	reasonUnknown      = "unknown_recipient"
	reasonNotKnown     = "recipient_not_known"
	reasonPrimaryUp    = "primary_up"
	reasonPass         = "pass"             // handed to the primary while the sender waits
	reasonPassFailed   = "pass_failed"      // the primary failed meanwhile
	reasonBusy         = "upstream_busy"    // as many sessions as are allowed are in use
	reasonPrimary      = "primary_declined" // the primary refused in a sender's session
	reasonReturning    = "returning_sender"
	reasonDegraded     = "upstream_degraded"
	reasonDown         = "upstream_down"
	reasonRecovering   = "upstream_recovering"
	reasonUpstream     = "other_upstream"
	reasonRecipients   = "too_many_recipients"
	reasonRefusals     = "too_many_refusals"
	reasonErrors       = "too_many_errors"
	reasonPath         = "bad_path"
	reasonParameter    = "bad_parameter"
	reasonPlaintext    = "plaintext"
	reasonRequireTLS   = "requiretls_unsupported"
	reasonUTF8         = "smtputf8_needed"
	reasonSequence     = "bad_sequence"
	reasonSyntax       = "bad_syntax"
	reasonControl      = "control_bytes"
	reasonLineEnd      = "bare_line_end"
	reasonLineLength   = "line_too_long"
	reasonHello        = "bad_hello"
	reasonChunk        = "bad_chunk"
	reasonForeign      = "foreign_protocol"
	reasonEarly        = "early_talker"
	reasonInjection    = "starttls_injection"
	reasonHandshake    = "handshake_failed"
	reasonTimeout      = "timeout"
	reasonDeaf         = "deaf_client" // it does not read our replies
	reasonBareCRLF     = "bare_crlf"
	reasonSize         = "too_big"
	reasonLoop         = "loop"
	reasonTruncated    = "truncated"
	reasonPaused       = "paused"
	reasonDraining     = "draining"
	reasonSpace        = "no_space"
	reasonLimit        = "limit_reached"
	reasonStore        = "store_failed"
	reasonConnections  = "too_many_connections"
	reasonPerAddress   = "too_many_connections_of_address"
	reasonPerNetwork   = "too_many_connections_of_network"
	reasonDismissed    = "dismissed" // it kept us waiting when there was little room
	reasonProxy        = "bad_proxy_header"
	reasonListed       = "dns_listed"
	reasonSlow         = "slow_sender"
	reasonGreylisted   = "greylisted"
	reasonFiltered     = "filter_rejected"
	reasonFilterDefers = "filter_deferred"
	reasonFilterFailed = "filter_failed" // it could not be asked
	reasonFilterHeld   = "filter_held"   // instead of being passed
	reasonOwnHello     = "own_hello"
	reasonTarpit       = "tarpit" // a refusal that had to be waited for
	reasonDMARC        = "dmarc"
	reasonPanic        = "panic"
	reasonNotSupported = "not_supported"
)

// refusal is a reply with the word that counts it.
type refusal struct {
	reply  smtp.Reply
	reason string
	cut    bool // the connection ends after the reply
}

// refuse makes a refusal.
func refuse(reason string, code int, status smtp.EnhancedStatus, text string) *refusal {
	return &refusal{reply: smtp.Reply{Code: code, Status: status, Lines: []string{text}}, reason: reason}
}
