package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Outcome is how one server answered.
type Outcome string

// The outcomes.
const (
	Answered    Outcome = "answered"
	NoSuchName  Outcome = "nxdomain"
	Empty       Outcome = "empty"       // the name exists, and has nothing of the kind
	ServerFails Outcome = "servfail"    // the server, or those it asks, fail
	Refuses     Outcome = "refused"     // or another code that is no answer
	Silent      Outcome = "no reply"    // in time
	Unreachable Outcome = "unreachable" // there was no way to ask
)

// Sight is what one server says of a name, without a cache between.
type Sight struct {
	Server    string // "ip:port"
	Name      string
	Outcome   Outcome
	Addresses []string // sorted; of a look at MX records their hosts
	Detail    string   // of a failure
	Took      time.Duration
}

// Look asks one server for the addresses of a name.
func (r *Resolver) Look(ctx context.Context, server, name string) Sight {
	began := time.Now()
	s := r.look(ctx, server, name, dns.TypeA)
	if six := r.look(ctx, server, name, dns.TypeAAAA); s.Outcome == Empty || s.Outcome == Answered && six.Outcome == Answered {
		s.Outcome, s.Detail, s.Addresses = six.Outcome, six.Detail, append(s.Addresses, six.Addresses...)
	}
	s.Took = time.Since(began)
	return s
}

// LookExchanges asks one server for the hosts of the MX records of a name; they
// end without a dot.
func (r *Resolver) LookExchanges(ctx context.Context, server, name string) Sight {
	began := time.Now()
	s := r.look(ctx, server, name, dns.TypeMX)
	s.Took = time.Since(began)
	return s
}

// Servers are those that are asked now, "ip:port".
func (r *Resolver) Servers() []string { return slices.Clone(r.servers.list(time.Now())) }

// look puts one question, again for each piece of a chain of CNAME records.
func (r *Resolver) look(ctx context.Context, server, name string, kind uint16) Sight {
	s := Sight{Server: server, Name: name}
	key := strings.TrimSuffix(strings.ToLower(name), ".")
	if !isName(key) {
		s.Outcome, s.Detail = NoSuchName, "not a host name"
		return s
	}
	w := walk{at: key + "."}
	for {
		asked := w.at
		reply, err := r.askOne(ctx, server, question{asked, kind})
		if err != nil {
			s.Outcome, s.Detail = outcomeOf(ctx, err)
			return s
		}
		found := w.through(reply, kind)
		switch {
		case found.found():
			s.Outcome, s.Addresses = Answered, found.words()
			return s
		case w.hops > maxChain:
			s.Outcome, s.Detail = ServerFails, errTooLong.Error()
			return s
		case reply.Rcode == dns.RcodeNameError:
			s.Outcome = NoSuchName
			return s
		case w.at == asked:
			s.Outcome = Empty
			return s
		}
	}
}

// words are the addresses, or the hosts, of an answer.
func (a answer) words() (words []string) {
	for _, address := range a.addresses {
		words = append(words, address.String())
	}
	for _, mx := range a.exchanges {
		words = append(words, strings.TrimSuffix(mx.Host, "."))
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// outcomeOf tells failures apart.
func outcomeOf(ctx context.Context, err error) (Outcome, string) {
	var code rcodeError
	failed := question{}.failed(ctx, "", err)
	switch {
	case errors.As(err, &code) && code == dns.RcodeServerFailure:
		return ServerFails, ""
	case errors.As(err, &code), errors.Is(err, errLame):
		return Refuses, err.Error()
	case failed.IsTimeout:
		return Silent, ""
	}
	return Unreachable, err.Error()
}

// String says it in a line, like "nxdomain" or "answered: 192.0.2.1".
func (s Sight) String() string {
	detail := s.Detail
	if s.Outcome == Answered {
		detail = strings.Join(s.Addresses, " ")
	}
	if detail == "" {
		return string(s.Outcome)
	}
	return fmt.Sprintf("%s: %s", s.Outcome, detail)
}
