package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// ednsSize is the largest UDP reply that travels unfragmented everywhere (DNS flag day 2020).
const ednsSize = 1232

var (
	errWrongQuestion = errors.New("the reply answers another question")
	errTooLong       = errors.New("chain of CNAME records is too long")
	errTooMuch       = errors.New("more text than anybody needs")
	errUnfit         = errors.New("none of the MX records has a host name")
	errLame          = errors.New("the server neither knows nor asks others")
)

// rcodeError is a reply that is no answer.
type rcodeError int

func (e rcodeError) Error() string {
	if word, ok := dns.RcodeToString[int(e)]; ok {
		return word
	}
	return fmt.Sprintf("RCODE %d", int(e))
}

// resolve answers a question, over several replies if a chain of CNAME records
// is given piece by piece.
func (r *Resolver) resolve(ctx context.Context, q question) answer {
	w, secure := walk{at: q.name}, true
	for {
		asked := question{w.at, q.kind}
		reply, server, err := r.ask(ctx, asked)
		if err != nil {
			return answer{err: q.failed(ctx, server, err)}
		}
		secure = secure && reply.AuthenticatedData
		found := w.through(reply, q.kind)
		found.secure = secure
		ttl, said := denial(reply)
		switch {
		case found.size() > maxTexts:
			return answer{err: q.failed(ctx, server, errTooMuch)}
		case found.found():
			sortExchanges(found.exchanges)
			return found
		case found.unfit: // that is not to have none
			return answer{err: q.failed(ctx, server, errUnfit)}
		case w.hops > maxChain:
			return answer{err: q.failed(ctx, server, errTooLong)}
		case reply.Rcode == dns.RcodeNameError || said || w.at == asked.name:
			missing := notFound(q.printed(), "no such host")
			missing.Server = server
			return answer{err: missing, ttl: ttl, secure: secure}
		}
	}
}

// ask asks the servers in turn until one has an answer, or denies that there is one.
func (r *Resolver) ask(ctx context.Context, q question) (reply *dns.Msg, server string, err error) {
	list := r.servers.list(time.Now())
	first := r.turn.Load()
	for try := range uint32(r.options.Tries * len(list)) {
		n := first + try
		server = list[n%uint32(len(list))]
		reply, err = r.askOne(ctx, server, q)
		if err == nil {
			r.turn.Store(n % uint32(len(list)))
			return reply, server, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, server, err
}

// askOne asks one server: over UDP, and again over TCP if the reply was cut.
func (r *Resolver) askOne(ctx context.Context, server string, q question) (*dns.Msg, error) {
	query := new(dns.Msg).SetQuestion(q.name, q.kind)
	query.SetEdns0(ednsSize, false)
	trusted := r.trusts(server)
	query.AuthenticatedData = trusted // RFC 6840 5.7: whoever asks understands the bit
	reply, err := r.exchange(ctx, "udp", server, query)
	if err == nil && reply.Rcode == dns.RcodeFormatError { // it may be too old for EDNS (RFC 6891 7)
		query.Extra = nil
		reply, err = r.exchange(ctx, "udp", server, query)
	}
	if err == nil && reply.Truncated {
		reply, err = r.exchange(ctx, "tcp", server, query)
	}
	if err == nil {
		reply.AuthenticatedData = reply.AuthenticatedData && trusted
	}
	switch {
	case err != nil:
		return nil, err
	case reply.Rcode == dns.RcodeNameError:
		return reply, nil
	case reply.Rcode != dns.RcodeSuccess:
		return nil, rcodeError(reply.Rcode)
	case len(reply.Answer) == 0 && !reply.Authoritative && !reply.RecursionAvailable:
		return nil, errLame
	}
	return reply, nil
}

// trusts reports whether a server's word on DNSSEC counts. The bit in a reply is
// not signed: on the way through a network anybody could have set it.
func (r *Resolver) trusts(server string) bool {
	at, err := netip.ParseAddrPort(server)
	return r.options.Trusted || err == nil && at.Addr().Unmap().IsLoopback()
}

// exchange sends a query over a connection of its own, so that its source port
// is hard to guess, and waits for the reply.
func (r *Resolver) exchange(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	raw, err := r.options.Dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })()
	conn := &dns.Conn{Conn: raw, UDPSize: ednsSize}
	if err := conn.WriteMsg(query); err != nil {
		return nil, err
	}
	for {
		reply, err := conn.ReadMsg()
		var broken net.Error
		switch {
		case err == nil && answers(reply, query):
			return reply, nil
		case network == "udp" && (err == nil || reply != nil && !errors.As(err, &broken)):
			// Not the server's, or one that comes too late: the right reply may follow.
		case err != nil:
			return nil, err
		default:
			return nil, errWrongQuestion
		}
	}
}

// answers reports whether a reply is one to the query. The library compares only the ID.
func answers(reply, query *dns.Msg) bool {
	if !reply.Response || reply.Id != query.Id || reply.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(reply.Question) == 0 { // some servers leave it out when they refuse
		return reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError
	}
	got, want := reply.Question[0], query.Question[0]
	return len(reply.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass && strings.EqualFold(got.Name, want.Name)
}

func (q question) printed() string { return strings.TrimSuffix(q.name, ".") }

// failed makes the error of a question that no server answered.
func (q question) failed(ctx context.Context, server string, err error) *net.DNSError {
	if ctx.Err() != nil {
		return q.ended(ctx, server)
	}
	timeout := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	text := err.Error()
	var op *net.OpError
	switch {
	case timeout:
		text = "no reply in time"
	case errors.As(err, &op): // without our port, which nobody needs to know
		text = op.Err.Error()
	}
	return &net.DNSError{Err: text, Name: q.printed(), Server: server, IsTimeout: timeout, IsTemporary: true}
}

// ended makes the error of a question whose context ended.
func (q question) ended(ctx context.Context, server string) *net.DNSError {
	err := ctx.Err()
	return &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: q.printed(), Server: server,
		IsTimeout: errors.Is(err, context.DeadlineExceeded), IsTemporary: true}
}
