package queuetest

import (
	"errors"
	"sync"

	"github.com/mxkeep/mxkeep/queue"
)

func concurrencyRules() []rule {
	return []rule{
		{"many senders and one dispatcher at once", manyAtOnce},
		{"only one of many claims gets the message", oneClaimWins},
		{"only one of many messages of a cause is accepted", oneCauseWins},
	}
}

// manyAtOnce lets senders accept while a dispatcher claims and settles what is
// due and an operator reads: all is delivered once.
func manyAtOnce(b *bench) {
	const senders, each = 8, 25
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for i := range each {
				d, err := b.store.Create(b.ctx)
				if err == nil {
					_, err = d.Write(content(i * 5000))
				}
				if err == nil {
					err = d.Commit(b.ctx, acceptance())
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	reading := sync.WaitGroup{}
	reading.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			stats, err := b.store.Stats(b.ctx)
			if err != nil || stats.Account.Missing() != 0 {
				b.Errorf("stats %+v, error %v", stats, err)
			}
			for _, err := range b.store.Messages(b.ctx, queue.Filter{States: queue.States()}) {
				if err != nil {
					b.Error(err)
				}
			}
		}
	})
	delivered := map[queue.ID]int{}
	for len(delivered) < senders*each && !b.Failed() {
		<-b.store.Wake(upstream)
		claimed, err := b.store.Claim(b.ctx, b.due(upstream, now()), lease)
		b.must(err)
		for _, m := range claimed {
			delivered[m.ID]++
			if got := b.content(m.ID); int64(len(got)) != m.Size+int64(len(trace)) {
				b.Errorf("%s has %d bytes", m.ID, len(got))
			}
			b.must(b.store.Settle(b.ctx, settlement(m, now(), queue.Delivered)))
		}
	}
	sending.Wait()
	close(done)
	reading.Wait()
	b.balanced()
	for id, n := range delivered {
		if n != 1 {
			b.Errorf("%s was claimed %d times", id, n)
		}
	}
}

func oneClaimWins(b *bench) {
	id := b.some(1)[0]
	var mu sync.Mutex
	var wins int
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			claimed, err := b.store.Claim(b.ctx, []queue.ID{id}, lease)
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			wins += len(claimed)
		})
	}
	group.Wait()
	if wins != 1 {
		b.Fatalf("%d claims got it", wins)
	}
}

func oneCauseWins(b *bench) {
	caused := acceptance()
	caused.Envelope.Cause = queue.Cause{ID: "0123456789ab", Kind: "delay"}
	var group sync.WaitGroup
	outcomes := make(chan error, 20)
	for range cap(outcomes) {
		d := b.draft(content(10))
		group.Go(func() { outcomes <- d.Commit(b.ctx, caused) })
	}
	group.Wait()
	close(outcomes)
	accepted := 0
	for err := range outcomes {
		if err == nil {
			accepted++
		} else if !errors.Is(err, queue.ErrExists) {
			b.Error(err)
		}
	}
	if accepted != 1 {
		b.Fatalf("%d were accepted", accepted)
	}
	b.balanced()
}
