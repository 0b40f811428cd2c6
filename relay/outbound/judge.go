package outbound

import (
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/reply"
)

// scopes translates the scopes of verdicts.
var scopes = [...]queue.Scope{reply.ScopeNone: queue.ScopeNone, reply.ScopeUpstream: queue.ScopeUpstream, reply.ScopeOwn: queue.ScopeOwn,
	reply.ScopeMessage: queue.ScopeMessage, reply.ScopeRecipient: queue.ScopeOneRecipient}

// judge decides what an answer means for the recipient it is about. It is pure.
//
//	accepted                                  Delivered
//	Retry, or Split with nobody to split off  Deferred
//	Hold                                      Refused
//	Fail of a recipient or by policy          Failed
//	anything before MAIL                      Deferred: it is not about the message, whatever it says
//	broken off by the relay                   Deferred, scope own
func judge(a answer, v reply.Verdict) (queue.Action, queue.Scope) {
	if a.ours {
		return queue.Deferred, queue.ScopeOwn
	}
	scope := scopes[v.Scope]
	if a.phase == health.PhaseRcpt && a.reply.Code != 0 && a.reply.Code != 421 && scope == queue.ScopeMessage {
		scope = queue.ScopeOneRecipient
	}
	switch {
	case v.Action == reply.Deliver:
		return queue.Delivered, queue.ScopeNone
	case a.beforeMail():
		if scope != queue.ScopeOwn {
			scope = queue.ScopeUpstream
		}
		return queue.Deferred, scope
	case v.Action == reply.Fail && (v.Class == health.Recipient || v.Class == health.Policy):
		return queue.Failed, scope
	case v.Action == reply.Fail, v.Action == reply.Hold:
		return queue.Refused, scope
	}
	return queue.Deferred, scope
}

// beforeMail reports whether the dialogue had not come to the transaction.
func (a answer) beforeMail() bool {
	switch a.phase {
	case health.PhaseResolve, health.PhaseConnect, health.PhaseBanner, health.PhaseHello, health.PhaseTLS, health.PhaseReset:
		return true
	}
	return false
}

// settle enters the result of a recipient.
func (d *delivery) settle(index int, at hop, a answer, took time.Duration) {
	v := a.verdict()
	action, scope := judge(a, v)
	d.report.Results[index] = queue.Result{At: time.Now(), Action: action, Scope: scope, Reply: a.record(), Host: at.host,
		Address: at.where(), RemoteSession: v.Session, Took: took, MaybeDuplicate: a.phase == health.PhaseFinal && a.reply.Code == 0}
	if action == queue.Delivered && !d.dsn && len(d.message.Envelope.Recipients[index].Notify) > 0 {
		d.report.Relayed = append(d.report.Relayed, index)
	}
	if action == queue.Deferred {
		d.report.Slow = max(d.report.Slow, v.Slow)
	}
}

// refuse enters results for what we do not send.
func (d *delivery) refuse(indexes []int, scope queue.Scope, why string) {
	for _, i := range indexes {
		d.report.Results[i] = queue.Result{At: time.Now(), Action: queue.Refused, Scope: scope, Reply: queue.Reply{Text: why}}
	}
}
