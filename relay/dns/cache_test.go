package dns

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestLifetime(t *testing.T) {
	missing, failed := &net.DNSError{IsNotFound: true}, &net.DNSError{IsTemporary: true}
	for _, c := range []struct {
		name string
		answer
		want time.Duration
	}{
		{"as it says", answer{ttl: 60}, time.Minute},
		{"at least", answer{ttl: 0}, 5 * time.Second},
		{"at most", answer{ttl: 1 << 31}, time.Hour},
		{"denial as it says", answer{ttl: 60, err: missing}, time.Minute},
		{"denial without SOA", answer{ttl: 0, err: missing}, 5 * time.Second},
		{"denial at most", answer{ttl: 86400, err: missing}, 5 * time.Minute},
		{"failure", answer{ttl: 86400, err: failed}, 5 * time.Second},
	} {
		if got := c.lifetime(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCache(t *testing.T) {
	var c cache
	now := time.Date(2026, 3, 12, 13, 0, 0, 0, time.UTC)
	q := question{"a.example.", dns.TypeA}
	if _, ok := c.get(q, now); ok {
		t.Error("an answer from an empty cache")
	}
	c.put(q, answer{ttl: 60}, now)
	if _, ok := c.get(q, now.Add(time.Minute-1)); !ok {
		t.Error("no answer before its time is over")
	}
	if _, ok := c.get(q, now.Add(time.Minute)); ok {
		t.Error("an answer after its time is over")
	}
	for i := range cacheLength - 1 {
		c.put(question{fmt.Sprintf("n%d.example.", i), dns.TypeA}, answer{ttl: 600}, now)
	}
	c.put(question{"late.example.", dns.TypeA}, answer{ttl: 600}, now.Add(2*time.Minute))
	if len(c.entries) != cacheLength {
		t.Errorf("%d entries; the one whose time is over should have gone", len(c.entries))
	}
	if _, ok := c.get(question{"n0.example.", dns.TypeA}, now); !ok {
		t.Error("an answer was dropped although another's time was over")
	}
	c.put(question{"more.example.", dns.TypeA}, answer{ttl: 600}, now)
	if _, ok := c.get(question{"more.example.", dns.TypeA}, now); !ok || len(c.entries) != cacheLength {
		t.Errorf("%d entries, the newest is there: %v", len(c.entries), ok)
	}
}
