// Package outbound gives held mail to a primary.
//
//	Upstream    knows how to reach the primary: dials, secures, speaks SMTP, probes
//	Internet    knows how to reach any domain, by its MX records
//	Dispatcher  decides when and how much: one loop owns the schedule of one upstream
//
// An attempt is claimed in the store before anything is dialled, and settled
// there when it ends:
//
//	due -> claim -> connect, EHLO, STARTTLS, EHLO, MAIL, RCPT.., DATA, dot -> plan -> settle
//
// Guarantee: a recipient becomes Delivered only by a positive reply to content
// that was sent whole, and its content leaves as it came. Whatever else happens
// leaves the message in the queue: Deferred, Refused or held, with the reply.
//
// On failure: what is not about the message (no connection, 421, our own
// certificate) spends no step of its schedule; the dispatcher waits instead. If
// the connection ends between the final dot and its reply, the result says that
// a duplicate is possible, and the message is sent again. If the process dies,
// the claim runs out and the store says that the attempt was interrupted. A
// panic in one attempt ends that attempt, and its message is held.
package outbound
