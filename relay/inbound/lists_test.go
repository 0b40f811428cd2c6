package inbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// zones answers questions of names from a table; all others have no such name.
type zones struct {
	answers map[string]string // name to address, "fails", or "slow"

	mu    sync.Mutex
	asked []string
}

func (z *zones) ask(ctx context.Context, name string) ([]netip.Addr, error) {
	z.mu.Lock()
	z.asked = append(z.asked, name)
	z.mu.Unlock()
	switch answer := z.answers[name]; answer {
	case "":
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case "fails":
		return nil, errors.New("server failure")
	case "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case "empty":
		return nil, nil
	default:
		return []netip.Addr{netip.MustParseAddr(answer)}, nil
	}
}

func (z *zones) lists(action ListAction) func(*Options) {
	return func(o *Options) {
		o.Lists = Lists{Block: []string{"block.example", "worse.example"}, Allow: []string{"allow.example"}, Action: action, Ask: z.ask}
		o.Trusted = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	}
}

// TestDNSLists: whom they have, and what is no answer of a list.
func TestDNSLists(t *testing.T) {
	const of1 = "1.2.0.192."
	for _, test := range []struct {
		name, from string
		answers    map[string]string
		action     ListAction
		want       string
		failed     int64
	}{
		{"nobody has it", "192.0.2.1", nil, DeferListed, "250", 0},
		{"listed", "192.0.2.1", map[string]string{of1 + "block.example": "127.0.0.2"}, DeferListed, "451 4.7.1 192.0.2.1 is listed by block.example", 0},
		{"listed, and rejected", "192.0.2.1", map[string]string{of1 + "worse.example": "127.0.0.11"}, RejectListed, "550 5.7.1 192.0.2.1 is listed by worse.example", 0},
		{"listed twice", "192.0.2.1", map[string]string{of1 + "worse.example": "127.0.0.2", of1 + "block.example": "127.1.2.3"}, DeferListed, "451 4.7.1 192.0.2.1 is listed by block.example", 0},
		{"allowed", "192.0.2.1", map[string]string{of1 + "block.example": "127.0.0.2", of1 + "allow.example": "127.0.5.2"}, RejectListed, "250", 0},
		{"another address", "192.0.2.2", map[string]string{of1 + "block.example": "127.0.0.2"}, RejectListed, "250", 0},
		{"IPv6", "2001:db8::1", map[string]string{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.block.example": "127.0.0.2"}, DeferListed, "451 4.7.1 2001:db8::1 is listed", 0},
		{"a failure is no verdict", "192.0.2.1", map[string]string{of1 + "block.example": "fails"}, RejectListed, "250", 1},
		{"a failure hides no other list", "192.0.2.1", map[string]string{of1 + "block.example": "fails", of1 + "worse.example": "127.0.0.2"}, RejectListed, "550", 1},
		{"too slow", "192.0.2.1", map[string]string{of1 + "block.example": "slow", of1 + "allow.example": "slow"}, RejectListed, "250", 2},
		{"a refusal of the list", "192.0.2.1", map[string]string{of1 + "block.example": "127.255.255.254"}, RejectListed, "250", 1},
		{"a domain that was given up", "192.0.2.1", map[string]string{of1 + "block.example": "198.51.100.1"}, RejectListed, "250", 1},
		{"never listed", "192.0.2.1", map[string]string{of1 + "block.example": "127.0.0.1"}, RejectListed, "250", 1},
		{"no address", "192.0.2.1", map[string]string{of1 + "block.example": "empty"}, RejectListed, "250", 1},
		{"an address of the wrong kind", "192.0.2.1", map[string]string{of1 + "block.example": "2001:db8::2"}, RejectListed, "250", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			z := &zones{answers: test.answers}
			r := newRig(t, z.lists(test.action))
			defer r.finish()
			w := r.dial(test.from).hello()
			begun := time.Now()
			w.ask("MAIL FROM:<s@far.example>", "250")
			w.ask("RCPT TO:<a@x.example>", "550 5.7.1 relaying")
			if len(z.asked) != 0 {
				t.Errorf("%s: asked for nothing", test.name)
			}
			for range 2 {
				w.say("RCPT TO:<a@d.example>\r\n")
				if got := w.reply(); !strings.HasPrefix(got, test.want) {
					t.Errorf("%s: %s, want %s", test.name, got, test.want)
				}
			}
			w.close()
			synctest.Wait()
			s := r.server.Stats()
			if took := time.Since(begun); took > 3*time.Second || len(z.asked) != 3 || s.ListsFailed != test.failed {
				t.Errorf("%s: it took %v, asked %v, failed %d", test.name, took, z.asked, s.ListsFailed)
			}
			if got, want := s.Refused[reasonListed], int64(2); test.want != "250" && got != want {
				t.Errorf("%s: counted %d", test.name, got)
			}
		})
	}
}

// TestNotAsked: lists know nothing of addresses that are not public, and are not
// asked about clients that are trusted.
func TestNotAsked(t *testing.T) {
	for _, from := range []string{"127.0.0.1", "10.0.0.1", "fd00::1", "fe80::1", "203.0.113.1"} {
		z := &zones{}
		r := newRig(t, z.lists(RejectListed))
		w := r.dial(from).hello().envelope()
		w.close()
		r.finish()
		if len(z.asked) != 0 {
			t.Errorf("%s: asked %v", from, z.asked)
		}
	}
}

// TestListsAreNotFlooded: above so many questions at once nobody is asked.
func TestListsAreNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zones{answers: map[string]string{"1.2.0.192.block.example": "slow", "2.2.0.192.block.example": "127.0.0.2"}}
		l := newLists(Lists{Block: []string{"block.example"}, Timeout: time.Second, Ask: z.ask})
		var asking sync.WaitGroup
		for range maxListed {
			asking.Go(func() { l.look(t.Context(), ip("192.0.2.1")) })
		}
		synctest.Wait()
		if got := l.look(t.Context(), ip("192.0.2.2")); got != (listing{}) || l.failed.Load() != 1 {
			t.Errorf("%+v, %d failed", got, l.failed.Load())
		}
		asking.Wait()
		if got := l.look(t.Context(), ip("192.0.2.2")); got.block != "block.example" {
			t.Errorf("%+v", got)
		}
	})
}

// TestExplainLists: what lists say of a client that is named.
func TestExplainLists(t *testing.T) {
	z := &zones{answers: map[string]string{"1.2.0.192.block.example": "127.0.0.2", "2.2.0.192.allow.example": "127.0.0.2"}}
	r := newRig(t, z.lists(DeferListed))
	defer r.finish()
	for client, want := range map[string]string{
		"192.0.2.1":   "defer dns_listed block.example lists 192.0.2.1",
		"192.0.2.2":   "take upstream_down allow.example allows 192.0.2.2",
		"192.0.2.3":   "take upstream_down asked: allow.example, block.example, worse.example; none has 192.0.2.3, or none answers",
		"10.0.0.1":    "take upstream_down not asked: they know nothing of 10.0.0.1, which is no public address",
		"203.0.113.1": "take upstream_down exo is down",
		"":            "take upstream_down exo is down",
	} {
		address, _ := netip.ParseAddr(client)
		e, err := r.server.Explain(Question{Recipient: "a@d.example", Client: address})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(e.Action, " ", e.Rule, " ", e.Facts[len(e.Facts)-1].Finding); got != want {
			t.Errorf("%s: %s, want %s", client, got, want)
		}
	}
	if _, err := New(Options{Hostname: "mx2.example", Domains: map[string]string{"d.example": "exo"}, Store: r.store, State: down, Lists: Lists{Block: []string{"block.example"}}}); err == nil {
		t.Error("lists without a way to ask")
	}
}
