package inbound

import (
	"cmp"
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// client is what a session has to know of its connection.
type client interface {
	peer() peer
	// flaw is what is wrong with content that was read to its end.
	flaw() *refusal
	// clear begins a new message.
	clear()
	// next is the verb of the command that the client has sent already, "" if there is none.
	next() string
	// excuse gives the client more time for its content: it had to wait for us.
	excuse(time.Duration)
	drained() bool
	// refuse counts a refusal.
	refuse(reason string)
}

// peer is who is at the other side, and how the session is spoken.
type peer struct {
	address  netip.Addr
	hello    string
	extended bool   // EHLO
	tls      string // version, "" is plaintext
	cipher   string // name of the cipher suite
}

// session is the policy of one SMTP session. A nil refusal means that the
// command is accepted. The engine calls reset while the content of BDAT is
// still read in another goroutine, so a transaction is never changed after that
// has begun; reset only drops it.
type session struct {
	server   *Server
	client   client
	ctx      context.Context // of the server: until every session has ended
	cut      context.Context // until sessions are cut: for what may take long at the primary
	tx       atomic.Pointer[transaction]
	refusals int      // refused recipients
	listed   *listing // what DNS lists say of the client; nil: they were not asked
	host     string
	resolved bool
}

// transaction is a message that is being received.
type transaction struct {
	envelope queue.Envelope
	upstream string // that the passage is with
	passage  passage
	size     int64 // as the client has announced it; 0 if it did not
}

const (
	maxEnvID = 100 // RFC 3461 4.4
	maxORcpt = 500 // RFC 3461 4.2
)

// mailParams are the parameters of MAIL.
type mailParams struct {
	size int64 // 0 if it was not said
	queue.Params
}

// mail begins a transaction. The path is as the engine hands it over, without quotes.
func (s *session) mail(path string, params mailParams) *refusal {
	if s.tx.Load() != nil {
		return refuse(reasonSequence, 503, smtp.StatusSequence, "a transaction is open already")
	}
	if no := s.closed(params.size); no != nil {
		return no
	}
	if no := s.unoffered(params); no != nil {
		return no
	}
	reversePath, err := smtp.UnquotedPath(path)
	if err != nil {
		return refuse(reasonPath, 553, smtp.StatusBadSender, "bad reverse-path")
	}
	switch {
	case !reversePath.ASCII() && !params.SMTPUTF8: // RFC 6531 3.5
		return refuse(reasonUTF8, 553, smtp.StatusNeedsSMTPUTF8, "the reverse-path needs SMTPUTF8")
	case len(params.EnvID) > maxEnvID || !printable(params.EnvID):
		return refuse(reasonParameter, 501, smtp.StatusBadArguments, "bad ENVID")
	case params.size > s.server.options.Limits.MessageSize:
		return tooBig()
	}
	if no := cmp.Or(s.overdrawn(), s.spend(useMessage)); no != nil {
		return no
	}
	s.client.clear()
	s.tx.Store(&transaction{envelope: queue.Envelope{ReversePath: reversePath.String(), Params: params.Params,
		Origin: origin(s.client.peer())}, size: params.size})
	failpoint.Hit(failpoint.InboundMail)
	return nil
}

// closed refuses mail while none can be taken.
func (s *session) closed(size int64) *refusal {
	switch {
	case s.client.drained():
		return shuttingDown(s.server.options.Hostname)
	case s.server.pause() != Pause{}:
		return paused()
	case s.server.storeFailure() != nil:
		return storeFailed()
	}
	if s.server.mayPass() { // the recipients say whether it has to be kept
		return nil
	}
	return s.keepable("", size)
}

// keepable refuses a message for which neither disk nor limits leave room.
func (s *session) keepable(upstream string, size int64) *refusal {
	if no := s.server.space.room(s.ctx, size); no != nil {
		return no
	}
	return s.room(upstream, size)
}

// rcpt adds a recipient.
func (s *session) rcpt(path smtp.Path, to queue.Recipient) *refusal {
	tx := s.tx.Load()
	if tx == nil { // the engine allows RCPT after a MAIL that was accepted, so this is a fault
		return refuse(reasonSequence, 503, smtp.StatusSequence, "MAIL comes first")
	}
	no := s.recipient(tx, path, to)
	if no != nil && no.reply.Permanent() {
		return s.badRecipient(no)
	}
	return no
}

func (s *session) recipient(tx *transaction, path smtp.Path, to queue.Recipient) *refusal {
	if !path.ASCII() && !tx.envelope.Params.SMTPUTF8 {
		return refuse(reasonUTF8, 553, smtp.StatusNeedsSMTPUTF8, "the forward-path needs SMTPUTF8")
	}
	if len(to.ORcpt) > maxORcpt || !printable(to.ORcpt) {
		return refuse(reasonParameter, 501, smtp.StatusBadArguments, "bad ORCPT")
	}
	if no := s.plaintext(path); no != nil {
		return no
	}
	if no := s.spend(useRecipient); no != nil {
		return no
	}
	to.ForwardPath = path.String()
	envelope := &tx.envelope
	a, upstream := s.admit(envelope.ReversePath, path)
	switch {
	case a.no != nil:
		return a.no
	case envelope.Upstream != "" && envelope.Upstream != upstream: // a transaction has one upstream
		return refuse(reasonUpstream, 452, smtp.StatusTooManyRcpt, "this recipient needs a transaction of its own")
	case len(envelope.Recipients) >= s.server.options.Limits.Recipients: // RFC 5321 4.5.3.1.10: 452, not 552
		return refuse(reasonRecipients, 452, smtp.StatusTooManyRcpt, "too many recipients")
	}
	if no := s.unkept(tx, upstream); no != nil {
		return no
	}
	if no := s.unwanted(); no != nil {
		return no
	}
	if tx.passed() || a.pass && tx.undecided() {
		return s.admitPassed(tx, upstream, path, to, a.later)
	}
	if a.later {
		return notKnown()
	}
	if no := s.stranger(envelope.ReversePath, a.reason); no != nil {
		return no
	}
	if no := s.keepable(upstream, tx.size); no != nil {
		return no
	}
	if tx.undecided() {
		tx.passage.drop() // the primary has refused those before
		envelope.Upstream, envelope.Origin.Reason = upstream, a.reason
	}
	envelope.Recipients = append(envelope.Recipients, to)
	failpoint.Hit(failpoint.InboundRcpt)
	return nil
}

// admit asks the admission policy about a recipient.
func (s *session) admit(reversePath string, path smtp.Path) (a admitted, upstream string) {
	domain, _ := smtp.ASCIIDomain(path.Domain) // "" is no domain of ours
	q, upstream := s.server.look(domain)
	if q.relayed {
		q.learn(s.server.ask(s.ctx, domain, path, q))
	}
	if q.known && q.state == health.Up && q.rule.defers() {
		q.returning = s.server.returning.visit(s.client.peer().address, reversePath, strings.ToLower(path.String()), time.Now())
	}
	if a = admit(q); a.reason == reasonReturning {
		s.returned(upstream, domain)
	}
	return a, upstream
}

// returned tells health about a sender that cannot reach the primary.
func (s *session) returned(upstream, domain string) {
	o, address := &s.server.options, s.client.peer().address
	from := network(address, 24, 64).String()
	o.Log.Warn("sender.returned", "upstream", upstream, "domain", domain, "network", from)
	if o.Observe != nil {
		o.Observe(health.Signal{At: time.Now(), Upstream: upstream, Domain: domain, Source: health.SourceSender,
			Class: health.Outage, Address: from})
	}
}

// origin says who sends the mail of a transaction, as far as it is known without asking.
func origin(p peer) queue.Origin {
	address := ""
	if p.address.IsValid() {
		address = p.address.String()
	}
	return queue.Origin{Address: address, Hello: p.hello, TLS: p.tls}
}

// hostname is the confirmed name of the client's address, "" if there is none.
// It is asked for once a session.
func (s *session) hostname(address netip.Addr) string {
	if look := s.server.options.ReverseDNS; look != nil && !s.resolved && address.IsValid() {
		ctx, cancel := context.WithTimeout(s.ctx, s.server.options.Timeouts.ReverseDNS)
		s.host, s.resolved = look(ctx, address), true
		cancel()
	}
	if host := hostWord(s.host, false); host != "unknown" {
		return host
	}
	return ""
}

// reset drops the transaction.
func (s *session) reset() {
	s.leave()
	s.client.clear()
}

// leave drops the transaction when the session may not be used any more. What
// is passed on is ended by who reads the content, if that has begun.
func (s *session) leave() {
	if tx := s.tx.Swap(nil); tx != nil {
		tx.passage.drop()
	}
}

// printable reports whether a parameter may be stored.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func shuttingDown(hostname string) *refusal {
	return refuse(reasonDraining, 421, smtp.StatusNotAccepting, hostname+" is shutting down")
}

func paused() *refusal {
	return refuse(reasonPaused, 451, smtp.StatusNotAccepting, "no mail is taken for now, try again later")
}

func tooBig() *refusal {
	return refuse(reasonSize, 552, smtp.StatusTooBig, "message too big")
}

func noSpace() *refusal {
	return refuse(reasonSpace, 452, smtp.StatusFull, "not enough space, try again later")
}

func noRoom() *refusal {
	return refuse(reasonLimit, 452, smtp.StatusFull, "too much mail is held already, try again later")
}

func storeFailed() *refusal {
	return refuse(reasonStore, 451, smtp.StatusLocalError, "local error, try again later")
}
