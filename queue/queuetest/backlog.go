package queuetest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// Backlog is what Fill puts into a store: messages with two recipients each,
// tried some times and deferred each time.
type Backlog struct {
	Upstream string
	Domain   string // of the recipients
	Messages int
	Attempts int
	Size     int       // of each content, in bytes
	Since    time.Time // when the first was accepted; the others follow evenly until now
	Due      time.Time // of the next attempt
}

const (
	wave  = 256 // messages that go through one step together: what one transaction takes
	waves = 4   // under way at a time, so that the store is never idle
)

// Senders is how many sender domains a backlog has, and Replies how many different replies.
const (
	Senders = 40
	Replies = 3
)

// Fill fills a store as outages do: messages are accepted, and each attempt is
// claimed and settled, by the methods of the store alone.
func Fill(ctx context.Context, s queue.Store, b Backlog) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := filler{store: s, Backlog: b, began: time.Now().UTC().Round(0), body: letter(b.Size)}
	var next atomic.Int64
	var group sync.WaitGroup
	for range waves {
		group.Go(func() {
			for ctx.Err() == nil {
				first := int(next.Add(wave)) - wave
				if first >= b.Messages {
					return
				}
				if err := f.wave(ctx, first, min(wave, b.Messages-first)); err != nil {
					stop(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

type filler struct {
	Backlog
	store queue.Store
	began time.Time
	body  []byte
}

// wave takes n messages through all steps.
func (f *filler) wave(ctx context.Context, first, n int) error {
	ids := make([]queue.ID, n)
	err := together(n, func(i int) (err error) {
		ids[i], err = f.accept(ctx, first+i)
		return err
	})
	for attempt := 1; attempt <= f.Attempts && err == nil; attempt++ {
		next := f.began
		if attempt == f.Attempts {
			next = f.Due
		}
		var claimed []queue.Message
		if claimed, err = f.store.Claim(ctx, ids, time.Hour); err != nil {
			break
		}
		if len(claimed) != n {
			return fmt.Errorf("%d of %d messages could be claimed", len(claimed), n)
		}
		err = together(n, func(i int) error { return f.store.Settle(ctx, Deferral(claimed[i], next)) })
	}
	return err
}

// together does n things at once.
func together(n int, do func(i int) error) error {
	var group sync.WaitGroup
	var failure atomic.Pointer[error]
	for i := range n {
		group.Go(func() {
			if err := do(i); err != nil {
				failure.Store(&err)
			}
		})
	}
	group.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *filler) accept(ctx context.Context, i int) (queue.ID, error) {
	d, err := f.store.Create(ctx)
	if err != nil {
		return "", err
	}
	if _, err := d.Write(f.body); err != nil {
		return "", err
	}
	sender := fmt.Sprintf("client%02d.example", i%Senders)
	at := f.Since.Add(time.Duration(float64(f.began.Sub(f.Since)) * float64(i) / float64(f.Messages)))
	a := queue.Acceptance{At: at, Trace: []byte(trace), MessageID: fmt.Sprintf("<%d@%s>", i, sender), Lifetime: queue.DefaultLifetime,
		Envelope: queue.Envelope{Upstream: f.Upstream, ReversePath: "alice@" + sender, Params: queue.Params{Body: "8BITMIME"},
			Recipients: []queue.Recipient{{ForwardPath: fmt.Sprintf("bob%d@%s", i, f.Domain)}, {ForwardPath: "carol@" + f.Domain}},
			Origin:     queue.Origin{Address: fmt.Sprintf("192.0.2.%d", i%Senders), Host: "mail." + sender, Hello: "mail." + sender, TLS: "TLS1.3", Reason: "upstream down"}}}
	return d.ID(), d.Commit(ctx, a)
}

// Deferral settles an attempt that the upstream has put off for both recipients.
func Deferral(m queue.Message, next time.Time) queue.Settlement {
	s := queue.Settlement{ID: m.ID, Attempt: m.Attempts, NextAttempt: next, Step: m.Step + 1, Results: map[int]queue.Result{}}
	for i := range m.Envelope.Recipients {
		s.Results[i] = queue.Result{At: time.Now().UTC().Round(0), Action: queue.Deferred, Scope: queue.ScopeOneRecipient,
			Host: "corp-example.mail.protection.example", Address: "192.0.2.53:25", RemoteSession: "DB5EUR03FT032", Took: 250 * time.Millisecond,
			Reply: queue.Reply{Command: "RCPT", Code: 451, Enhanced: "4.7.500", Text: fmt.Sprintf("Server busy. Please try again later (reason %d)", int(m.Size+int64(m.AcceptedAt.Nanosecond()))%Replies)}}
	}
	return s
}

// letter is a content of a size.
func letter(size int) []byte {
	head := []byte("From: alice@client.example\r\nTo: bob@corp.example\r\nSubject: figures\r\n\r\n")
	line := []byte("The quick brown fox jumps over the lazy dog and comes back again.\r\n")
	return append(head, bytes.Repeat(line, size/len(line)+1)...)[:max(size, len(head))]
}
