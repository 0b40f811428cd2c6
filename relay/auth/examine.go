package auth

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/relay/auth/arc"
)

// Examination is all that is found out about a message: who wrote it, and what
// relays on its way say about that.
type Examination struct {
	Verdicts
	Chain arc.Chain

	client  netip.Addr
	message *arc.Message // nil if it could not be read
}

// Examine verifies a message and its ARC chain side by side, each with a reader
// of its own. The error is one of open; what went wrong later is in the results.
func (v *Verifier) Examine(ctx context.Context, id Identity, open func() (io.ReadCloser, error)) (Examination, error) {
	e := Examination{client: id.Client}
	content, err := open()
	if err != nil {
		return e, err
	}
	defer content.Close()
	var chain sync.WaitGroup
	var again io.ReadCloser
	verdicts := v.verify(ctx, id, content, func(h head) {
		if v.options.Unsealed && h.over == "" && h.err == nil && !h.chained() {
			e.Chain = arc.Chain{Status: arc.None}
			return
		}
		if again, err = open(); err == nil {
			chain.Go(func() { e.message, e.Chain = v.chain(ctx, again) })
		}
	})
	chain.Wait()
	if err != nil {
		return e, err
	}
	if again != nil {
		again.Close() // it was only read
	}
	e.Verdicts = verdicts
	return e, nil
}

// chained reports whether there is a field of an ARC set.
func (h *head) chained() bool {
	return slices.ContainsFunc(h.fields, func(f field) bool { return len(f.name) > 4 && strings.EqualFold(f.name[:4], "arc-") })
}

// chain validates the chain of a message.
func (v *Verifier) chain(ctx context.Context, content io.Reader) (m *arc.Message, chain arc.Chain) {
	ctx, cancel := context.WithTimeout(ctx, v.options.Timeout)
	defer cancel()
	at := v.options.At
	if at.IsZero() {
		at = time.Now()
	}
	var err error
	fault := v.guarded("arc", func() {
		if m, err = arc.Read(content); err == nil {
			chain = m.Verify(ctx, arc.Options{Resolver: v.options.Resolver, Now: at})
		}
	})
	if err = cmp.Or(fault, err); err != nil {
		return nil, arc.Chain{Status: arc.TempError, Reason: short(err.Error())}
	}
	return m, chain
}

// Field writes the Authentication-Results field, which says something of a chain
// if there is one.
func (e Examination) Field() []byte {
	if e.Chain.Status == arc.None {
		return e.Verdicts.Field()
	}
	return e.Verdicts.Field(e.chainResult()...)
}

// Results is the value of an ARC-Authentication-Results field.
func (e Examination) Results() string { return e.Verdicts.Results(e.chainResult()...) }

// chainResult is the line about the chain (RFC 8617 10.1), which has no word for
// one that nobody can judge now.
func (e Examination) chainResult() []string {
	var properties []string
	switch e.Chain.Status {
	case arc.TempError, "":
		return nil
	case arc.Pass:
		properties = append(properties, property("header.oldest-pass", strconv.Itoa(e.Chain.OldestPass)))
	}
	if e.client.IsValid() {
		properties = append(properties, property("smtp.remote-ip", e.client.Unmap().WithZone("").String()))
	}
	return []string{result("arc", string(e.Chain.Status), e.Chain.Reason, properties...)}
}

// ErrUnread says that a message was not sealed because it could not be read.
var ErrUnread = errors.New("the content could not be read")

// Seal makes an ARC set for the message as it leaves with the trace fields in
// front of it. An error that is arc.ErrUnsealed is no failure: the chain of the
// message may not go on.
func (e Examination) Seal(s *arc.Sealer, trace []byte, at time.Time) ([]byte, error) {
	if e.message == nil {
		return nil, ErrUnread
	}
	return s.Seal(e.message.Behind(trace), e.Chain, e.Results(), at)
}
