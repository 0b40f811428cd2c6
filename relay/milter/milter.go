// Package milter asks content filters, such as rspamd or ClamAV, about a message
// that was received whole, before anybody answers for it.
//
// Guarantee: a filter decides whether a message is taken, refused, deferred or
// held, and may add header fields that are put before the content. It cannot
// change the content, and no message vanishes because of it: what a filter wants
// to discard is held. A filter that cannot be asked, in whatever way it fails,
// is dealt with as OnFailure says, and never for longer than its time-out.
//
//	filter says          we do
//	accept, continue     the next filter is asked
//	add, insert header   the field is put before the content
//	change header        the same, unless a message may have it only once
//	quarantine, discard  the message is taken and held
//	reject, 5xx          the message is refused for good
//	tempfail, 4xx        the message is deferred
//	anything else        it is not done, and counted: Status.Ignored
//
// A filter that refuses one recipient refuses the message, since all of them were
// accepted before it was asked. What changes content is not offered to filters.
//
// What is logged, by event:
//
//	filter.failed    a filter fails whose last answer was one
//	filter.restored  it answers again
//	filter.ignored   what a filter asks for and is not done, each kind once
package milter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Action is what becomes of a message.
type Action uint8

// The actions. A message that is held is accepted.
const (
	Accept Action = iota
	Hold
	Defer
	Reject
)

func (a Action) String() string {
	return [...]string{"accept", "hold", "defer", "reject"}[a]
}

// Options describe a filter. Fields that are zero get a default, where one is named.
type Options struct {
	Name        string        // in status, logs and reasons
	Network     string        // "tcp" or "unix"
	Address     string        // "host:port", or a path
	Timeout     time.Duration // for one message, all in all; default 30 seconds
	Connections int           // at once; a message waits for one within its time; default 20
	OnFailure   Action        // Accept, Hold or Defer: what becomes of a message that it could not be asked about
	Log         *slog.Logger  // default: nothing is logged
	// Dial connects to the filter; nil does so over the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Message is what a filter is told.
type Message struct {
	ID          string // under which it is queued if it is taken
	By          string // our host name
	Client      netip.Addr
	Host        string // confirmed name of the client, "" if there is none
	Hello       string
	TLS, Cipher string // "" is plaintext
	UTF8        bool   // header fields may have UTF-8
	ReversePath string // "" is the null reverse-path
	Recipients  []string
	// Content reads the message from its beginning: lines that end with CRLF.
	Content func() (io.ReadCloser, error)
}

// Verdict is what became of a message. The zero Verdict accepts it.
type Verdict struct {
	Action Action
	Filter string     // that decided; "" if none did
	Failed bool       // it did so by OnFailure
	Reply  smtp.Reply // for Defer and Reject
	Reason string     // for Hold, and for people
	Header []byte     // fields to put before the content, each ended by CRLF
}

// Chain is filters in the order in which they are asked.
type Chain []*Filter

// Ask asks the filters about a message. The first that refuses or defers it
// decides; one that holds it does not keep the others from refusing. Later
// filters see the fields that earlier ones have added. The error is that of ctx
// or of Content: then nothing is known.
func (c Chain) Ask(ctx context.Context, m Message) (Verdict, error) {
	var verdict Verdict
	var added []field
	for _, f := range c {
		said, err := f.ask(ctx, m, added)
		if err != nil {
			return Verdict{}, err
		}
		added = append(added, said.fields...)
		if said.Action > verdict.Action {
			verdict = said.Verdict
		}
		if verdict.Action > Hold {
			return verdict, nil
		}
	}
	for _, f := range added {
		verdict.Header = append(verdict.Header, f.name+": "+f.value+"\r\n"...)
	}
	return verdict, nil
}

// Filter is one content filter. Its methods may be called concurrently.
type Filter struct {
	options Options
	places  chan struct{}
	record  record
}

// New makes a filter, which connects to nothing until it is asked.
func New(o Options) (*Filter, error) {
	switch {
	case o.Name == "" || o.Address == "":
		return nil, errors.New("a filter needs a name and an address")
	case o.Network != "tcp" && o.Network != "unix":
		return nil, fmt.Errorf("filter %s: no network %q", o.Name, o.Network)
	case o.OnFailure > Defer:
		return nil, fmt.Errorf("filter %s: its failure is no reason to refuse mail for good", o.Name)
	}
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Connections = cmp.Or(o.Connections, 20)
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Filter{options: o, places: make(chan struct{}, o.Connections), record: record{ignored: map[string]bool{}}}, nil
}

// said is the verdict of one filter, and the fields that it adds.
type said struct {
	Verdict
	fields  []field
	ignored []string // changes that are not done, each kind once
}

// ask asks the filter, and makes a verdict of its failure.
func (f *Filter) ask(ctx context.Context, m Message, added []field) (said, error) {
	began := time.Now()
	a, err := f.attempt(ctx, m, added)
	var content *contentError
	switch {
	case err == nil:
		v := verdict(f.options.Name, a, m.UTF8)
		if f.record.answered(v, time.Since(began)) {
			f.options.Log.Info("filter.restored", "filter", f.options.Name, "id", m.ID)
		}
		if news := f.record.unheard(v.ignored); len(news) > 0 {
			f.options.Log.Warn("filter.ignored", "filter", f.options.Name, "id", m.ID, "what", news)
		}
		return v, nil
	case errors.As(err, &content):
		return said{}, content.error
	case ctx.Err() != nil:
		return said{}, ctx.Err()
	}
	if f.record.failed(brief(err.Error()), time.Now(), time.Since(began)) {
		f.options.Log.Error("filter.failed", "filter", f.options.Name, "id", m.ID, "error", brief(err.Error()), "then", f.options.OnFailure.String())
	}
	return said{Verdict: f.failure(err)}, nil
}

// attempt waits for a place, and talks with the filter.
func (f *Filter) attempt(ctx context.Context, m Message, added []field) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, f.options.Timeout)
	defer cancel()
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	case <-ctx.Done():
		return answer{}, fmt.Errorf("all %d connections were in use for %s", f.options.Connections, f.options.Timeout)
	}
	a, err := f.talk(ctx, m, added)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s: %w", f.options.Timeout, err)
	}
	return a, err
}

// failure is what becomes of a message that the filter could not be asked about.
func (f *Filter) failure(err error) Verdict {
	v := Verdict{Action: f.options.OnFailure, Filter: f.options.Name, Failed: true,
		Reason: brief("filter " + f.options.Name + " could not be asked: " + err.Error())}
	if v.Action == Defer {
		v.Reply = smtp.NewReply(451, smtp.StatusLocalError, "the message cannot be checked now, try again later")
	}
	return v
}

// maxReason bounds what is stored of a filter's words.
const maxReason = 300

// brief makes text of a filter safe to store and to show.
func brief(s string) string {
	s = smtp.Printable(s)
	return strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
}
