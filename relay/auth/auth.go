// Package auth finds out who wrote a message: SPF (RFC 7208), DKIM (RFC 6376)
// and DMARC (RFC 7489).
//
// Verify reads a message once, from where it is spooled, and has an answer
// within a bounded time whatever the message, the DNS or a remote server is
// made of: what cannot be found out is temperror, and the message is kept.
//
//	header            128 KiB, 1000 fields, 4000 lines; of a longer one no signature is verified
//	signatures        the first 8
//	fields of one     200 names in h=
//	a key             2 KiB of text, which is about 12,000 bits
//	DNS               30 questions for each SPF check, 16 for the rest; 5 seconds in all
//
// The rules themselves are pure functions: evaluate (DMARC), Judge (what the
// policy of a domain of ours makes of the verdicts), Results and ReceivedSPF
// (header fields), Strip (fields of others that claim our name).
package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// The results of RFC 8601 2.7.
const (
	None      = "none"
	Pass      = "pass"
	Fail      = "fail"
	SoftFail  = "softfail"
	Neutral   = "neutral"
	TempError = "temperror"
	PermError = "permerror"
)

// Resolver is what is needed of the DNS. Every error must be a bare
// *net.DNSError: the libraries look at nothing else, and take any other for permanent.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIP(ctx context.Context, network, name string) ([]netip.Addr, error)
	LookupNames(ctx context.Context, address netip.Addr) ([]string, error)
}

// Options are the settings of a Verifier.
type Options struct {
	ID       string // our authserv-id: a domain name (RFC 8601 2.5)
	Resolver Resolver
	Timeout  time.Duration // for all verdicts on one message; default 5 s
	Log      *slog.Logger  // nil is silence

	// Unsealed: no message is sealed afterwards. Then one without a chain is not read twice.
	Unsealed bool

	// At is the time at which signatures must not have ended; zero is now. For
	// another one messages are read into memory.
	At time.Time
}

// Verifier finds out who wrote messages. It may be used concurrently.
type Verifier struct{ options Options }

// New makes a verifier.
func New(o Options) (*Verifier, error) {
	id, err := smtp.ASCIIDomain(o.ID)
	if err != nil || id[0] == '[' {
		return nil, fmt.Errorf("authserv-id %q is no domain name", o.ID)
	}
	if o.Resolver == nil {
		return nil, errors.New("there is nobody to ask for names")
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.ID = id
	return &Verifier{o}, nil
}

// ID is our authserv-id.
func (v *Verifier) ID() string { return v.options.ID }

// Identity is who handed a message over.
type Identity struct {
	Client      netip.Addr
	Hello       string // as the client said it
	ReversePath string // as between the angle brackets; "" is the null reverse-path
}

// Verdicts are what was found out. Domains are A-labels in lower case, or ""
// where there is none; all other text comes from outside.
type Verdicts struct {
	By        string // our authserv-id
	MailFrom  SPF    // zero if the reverse-path is null
	Hello     SPF
	DKIM      []Signature // in the order of the fields
	Unchecked int         // further signatures, which nobody looked at
	DMARC     DMARC

	ReversePath bool // it is authenticated: SPF passed for it, or a signature of its organisation did
	Author      bool // the same of the domain of From, whether it has a policy or not
	Unknown     bool // something could not be found out, which might have authenticated the author
	Claims      int  // Authentication-Results fields that claim to be ours
	Took        time.Duration
}

// SPF is the result of a check of one identity.
type SPF struct{ Result, Domain, Reason string }

// Signature is the result for one DKIM signature.
type Signature struct {
	Result     string
	Domain     string // d=
	Selector   string // s=
	Algorithm  string // a=
	Identifier string // i=, "" if it was not given
	Value      string // the first characters of b= (RFC 6008)
	Reason     string
}

// Verify reads the content to its end, or as far as it takes to know. It never
// fails: what went wrong is in the verdicts.
func (v *Verifier) Verify(ctx context.Context, id Identity, content io.Reader) Verdicts {
	return v.verify(ctx, id, content, func(head) {})
}

// verify tells look the header as soon as it is read.
func (v *Verifier) verify(ctx context.Context, id Identity, content io.Reader, look func(head)) Verdicts {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, v.options.Timeout)
	defer cancel()
	from := sender(id)
	found := Verdicts{By: v.options.ID}
	back, content := lookBack(v.options.At, content)
	var checks sync.WaitGroup
	checks.Go(func() { found.Hello = v.spf(ctx, id, helloSender(id)) })
	if id.ReversePath != "" {
		checks.Go(func() { found.MailFrom = v.spf(ctx, id, from) })
	}
	h, body := readHead(content)
	look(h)
	found.Claims = h.claims(v.options.ID)
	rest := &budget{Resolver: v.options.Resolver, left: maxQuestions}
	author := h.author()
	var published publication
	checks.Go(func() { published = v.publication(ctx, rest, author) })
	found.DKIM, found.Unchecked = v.dkim(ctx, rest, h, body)
	found.DKIM = back.correct(ctx, rest, h, found.DKIM)
	checks.Wait()
	v.conclude(&found, author, published, h.dice())
	found.ReversePath = found.authenticates(from.domain, id.ReversePath != "")
	found.Took = time.Since(began)
	return found
}

// guarded turns a panic of a check into an error: it is about one message.
func (v *Verifier) guarded(what string, check func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			v.options.Log.Error("auth.panic", "check", what, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = errors.New("fault in the check")
		}
	}()
	check()
	return nil
}

// authenticates reports whether a domain is authenticated: SPF passed for it
// as the reverse-path, or a signature of its organisation did.
func (v *Verdicts) authenticates(domain string, reversePath bool) bool {
	if domain == "" || !reversePath {
		return false
	}
	if v.MailFrom.Result == Pass {
		return true
	}
	for _, s := range v.DKIM {
		if s.Result == Pass && aligned(s.Domain, domain, false) {
			return true
		}
	}
	return false
}
