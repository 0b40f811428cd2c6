package dns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// memory is a Keep that can fail.
type memory struct {
	values map[string][]byte
	puts   int
	fail   error
}

func (m *memory) Put(owner, key string, value any) error {
	if m.fail != nil {
		return m.fail
	}
	m.puts++
	text, err := json.Marshal(value)
	m.values[owner+"/"+key] = text
	return err
}

func (m *memory) Get(owner, key string, into any) (bool, error) {
	if m.fail != nil {
		return false, m.fail
	}
	text, ok := m.values[owner+"/"+key]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(text, into)
}

func TestLastGoodAnswers(t *testing.T) {
	broken := map[string]func(string, *dns.Msg) *dns.Msg{
		"SERVFAIL": func(_ string, q *dns.Msg) *dns.Msg { return fail(q, dns.RcodeServerFailure) },
		"NXDOMAIN": func(_ string, q *dns.Msg) *dns.Msg { return zone{t, nil}.reply(q) },
		"silence":  func(string, *dns.Msg) *dns.Msg { return nil },
	}
	for name, trouble := range broken {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				z := zone{t, []string{"mx.example. 60 IN A 192.0.2.1", "mx.example. 60 IN A 192.0.2.2"}}
				healthy := func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) }
				p := &pipes{reply: healthy}
				options := Options{Servers: []string{"192.0.2.53:53"}, Dial: p.dial, Log: slog.New(slog.NewTextHandler(&log, nil)), MaxStale: time.Hour}
				r := resolver(t, options)
				wantHosts(t, r, "mx.example", "192.0.2.1", "192.0.2.2")
				p.answer(trouble)
				time.Sleep(2 * time.Minute) // virtual
				p.queries()
				wantHosts(t, r, "mx.example", "192.0.2.1", "192.0.2.2")
				if len(p.queries()) == 0 {
					t.Error("the DNS was not asked")
				}
				wantHosts(t, r, "MX.example.", "192.0.2.1", "192.0.2.2")
				if asked := p.queries(); len(asked) != 0 {
					t.Errorf("the DNS was asked again at once: %q", asked)
				}
				time.Sleep(6 * time.Minute) // virtual; longer than a denial is kept
				wantHosts(t, r, "mx.example", "192.0.2.1", "192.0.2.2")
				if lines := strings.Count(log.String(), "dns.stale"); lines != 1 {
					t.Errorf("%d lines of one trouble:\n%s", lines, log.String())
				}
				_, err := r.LookupHost(t.Context(), "other.example")
				wantError(t, err, map[string]string{"SERVFAIL": "temporary", "NXDOMAIN": "notfound", "silence": "timeout"}[name], "")

				z.lines = []string{"mx.example. 60 IN A 192.0.2.9"}
				p.answer(func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) })
				time.Sleep(6 * time.Minute) // virtual
				wantHosts(t, r, "mx.example", "192.0.2.9")
				if !strings.Contains(log.String(), "dns.recovered") {
					t.Error("the end of the trouble is not logged")
				}
				p.answer(trouble)
				time.Sleep(2 * time.Hour) // virtual
				if _, err := r.LookupHost(t.Context(), "mx.example"); err == nil {
					t.Error("an answer of two hours ago was used; one hour is allowed")
				}
			})
		})
	}
}

func TestLastGoodOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		disk := &memory{values: map[string][]byte{}}
		z := zone{t, []string{"mx.example. 60 IN A 192.0.2.1", "mx.example. 60 IN A 192.0.2.2"}}
		p := &pipes{reply: func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) }}
		options := Options{Servers: []string{"192.0.2.53:53"}, Dial: p.dial, Keep: disk, Log: slog.New(slog.NewTextHandler(&log, nil))}
		r := resolver(t, options)
		for range 10 {
			wantHosts(t, r, "mx.example", "192.0.2.1", "192.0.2.2")
			slices.Reverse(z.lines) // the order says nothing
			time.Sleep(2 * time.Minute)
			_, _ = r.LookupHost(t.Context(), "mx.example")
			slices.Reverse(z.lines)
			time.Sleep(2 * time.Minute)
		}
		if disk.puts != 1 {
			t.Errorf("an unchanged answer was stored %d times within 40 minutes", disk.puts)
		}
		time.Sleep(time.Hour)
		wantHosts(t, r, "mx.example", "192.0.2.1", "192.0.2.2")
		if disk.puts != 2 {
			t.Errorf("stored %d times, want it again after an hour", disk.puts)
		}

		p.answer(func(_ string, q *dns.Msg) *dns.Msg { return fail(q, dns.RcodeServerFailure) })
		wantHosts(t, resolver(t, options), "mx.example", "192.0.2.1", "192.0.2.2") // after a restart

		disk.fail = errors.New("disk on fire")
		_, err := resolver(t, options).LookupHost(t.Context(), "mx.example")
		wantError(t, err, "temporary", "SERVFAIL")
		z.lines = []string{"new.example. 60 IN A 192.0.2.3"}
		p.answer(func(_ string, q *dns.Msg) *dns.Msg { return z.reply(q) })
		wantHosts(t, r, "new.example", "192.0.2.3")
		if got := strings.Count(log.String(), "dns.keep_failed"); got != 3 {
			t.Errorf("%d lines of a failing disk, want one for each of 2 reads and a write:\n%s", got, log.String())
		}
	})
}

func TestRememberedHostsAreBounded(t *testing.T) {
	l := lastGood{log: slog.New(slog.DiscardHandler), maxAge: time.Hour}
	for i := range 2 * maxLastGood {
		l.store(fmt.Sprintf("n%d.example", i), []netip.Addr{address("192.0.2.1")}, time.Unix(0, 0))
	}
	if len(l.hosts) != maxLastGood {
		t.Errorf("%d hosts", len(l.hosts))
	}
}
