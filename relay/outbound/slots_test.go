package outbound

import (
	"context"
	"testing"
	"testing/synctest"
)

// TestSlots: deliveries come first, and always find one in the end.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slots{most: 3}
		first, second, third := s.pass(), s.pass(), s.pass()
		if !first || !second || third {
			t.Error("senders get all but one")
		}
		if !s.deliver(t.Context()) || s.pass() {
			t.Error("a delivery has no slot")
		}
		var order []string
		waits := func(name string, ctx context.Context) {
			go func() {
				if s.deliver(ctx) {
					order = append(order, name)
				}
			}()
			synctest.Wait()
		}
		gone, cancel := context.WithCancel(t.Context())
		waits("gone", gone)
		waits("first", t.Context())
		waits("second", t.Context())
		cancel()
		synctest.Wait()
		s.passed()
		if synctest.Wait(); s.pass() {
			t.Error("a sender comes before a delivery that waits")
		}
		s.delivered()
		synctest.Wait()
		if len(order) != 2 || order[0] != "first" || order[1] != "second" {
			t.Errorf("%v", order)
		}
		s.delivered()
		s.delivered()
		s.passed()
		if s.busy != 0 || s.passing != 0 || len(s.waiting) != 0 {
			t.Errorf("left %+v", s)
		}
		if one := (&slots{most: 1, busy: 1}); one.pass() {
			t.Error("a slot that is taken")
		}
		if one := (&slots{most: 1}); !one.pass() {
			t.Error("a single slot is for senders, too")
		}
	})
}

// TestSlotCameAtTheEnd: a delivery that stopped waiting as its slot came keeps it.
func TestSlotCameAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 { // of the two, one is seen first as often as the other
			s := &slots{most: 1, busy: 1}
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan bool)
			go func() { got <- s.deliver(ctx) }()
			synctest.Wait()
			s.mu.Lock()
			cancel()
			s.free()
			s.mu.Unlock()
			if !<-got || s.busy != 1 {
				t.Fatalf("a slot is lost: %+v", s)
			}
		}
	})
}
