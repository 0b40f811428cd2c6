package outbound

import (
	"testing"

	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// TestDANE: what TLSA records do to a delivery, and when they do nothing.
func TestDANE(t *testing.T) {
	for _, test := range []struct {
		name    string
		sink    *sink
		records func(w *world, s *sink)
		outcome string
		words   string
		taken   string
	}{
		{"the right key", &sink{}, func(w *world, s *sink) { w.tlsa("mx0.example", 3, 1, 1, keyOf(w.T, s.chain)) }, "delivered", "", "tls mx0.example a@corp.example"},
		{"the wrong key", &sink{}, func(w *world, s *sink) { w.tlsa("mx0.example", 3, 1, 1, make([]byte, 32)) }, "deferred/message", "no TLSA record matches", ""},
		{"an authority that is not shown", &sink{}, func(w *world, s *sink) { w.tlsa("mx0.example", 2, 0, 1, make([]byte, 32)) }, "deferred/message", "no TLSA record matches", ""},
		{"no STARTTLS", &sink{startTLS: sinkSilent}, func(w *world, s *sink) { w.tlsa("mx0.example", 3, 1, 1, make([]byte, 32)) }, "deferred/message", "does not offer STARTTLS", ""},
		{"STARTTLS refused", &sink{startTLS: sinkRefuses}, func(w *world, s *sink) { w.tlsa("mx0.example", 3, 1, 1, make([]byte, 32)) }, "deferred/message", "454", ""},
		{"a handshake that breaks", &sink{startTLS: sinkBreaks}, func(w *world, s *sink) { w.tlsa("mx0.example", 3, 1, 1, make([]byte, 32)) }, "deferred/message", "", ""},
		{"only unusable records", &sink{}, func(w *world, s *sink) { w.tlsa("mx0.example", 1, 1, 1, make([]byte, 32)) }, "delivered", "", "tls mx0.example a@corp.example"},
		{"only unusable records, and no STARTTLS", &sink{startTLS: sinkSilent}, func(w *world, s *sink) { w.tlsa("mx0.example", 0, 1, 1, make([]byte, 32)) }, "deferred/message", "does not offer STARTTLS", ""},
		{"no record", &sink{startTLS: sinkSilent}, func(*world, *sink) {}, "delivered", "", "plain a@corp.example"},
		{"records that cannot be looked up", &sink{}, func(w *world, s *sink) { w.server.Trouble(w.tlsaName("mx0.example"), dnstest.Fail) }, "deferred/message", "TLSA records: ", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, test.sink)
			w.zone("corp.example. 60 IN MX 10 mx0.example.")
			w.server.Sign("example")
			test.records(w, test.sink)
			w.want("a@corp.example", test.outcome, test.words)
			if got := test.sink.took(); got != test.taken {
				t.Errorf("taken %q, want %q", got, test.taken)
			}
		})
	}
}

// TestDANENeedsDNSSEC: records that nobody has validated are nothing, whether
// it is they, the addresses, or the MX records that are not signed, or the
// resolver is one whose word does not count.
func TestDANENeedsDNSSEC(t *testing.T) {
	for name, signed := range map[string][]string{
		"nothing":              nil,
		"only the host":        {"mx0.example"},
		"only the domain":      {"corp.example"},
		"not the TLSA records": {"corp.example", "aliased.example"},
	} {
		s := &sink{}
		w := newWorld(t, nil, s)
		w.zone("corp.example. 60 IN MX 10 mx0.example.")
		w.tlsa("mx0.example", 3, 1, 1, make([]byte, 32)) // the wrong one
		for _, zone := range signed {
			w.server.Sign(zone)
		}
		w.want("a@corp.example", "delivered", "taken")
		if s.took() != "tls mx0.example a@corp.example" {
			t.Errorf("signed %s: %s", name, s.took())
		}
	}
	s := &sink{}
	w := newWorld(t, nil, s)
	w.zone("corp.example. 60 IN MX 10 mx0.example.")
	w.tlsa("mx0.example", 3, 1, 1, make([]byte, 32))
	w.server.Sign("example")
	w.options.Resolver = w.server.Resolver(t) // at 192.0.2.53, which nobody trusts
	w.want("a@corp.example", "delivered", "taken")
}

// TestDANEOfAlias: the name at the end of an alias is asked first, then its own;
// an alias that is not validated to its end has no DANE.
func TestDANEOfAlias(t *testing.T) {
	for _, test := range []struct {
		name    string
		signed  []string
		right   string // has the right key
		wrong   string // has a wrong one
		outcome string
		sni     string
	}{
		{"at its end", []string{"example", "host.test"}, "mx0.example", "alias.test", "delivered", "mx0.example"},
		{"at its own name", []string{"example", "test"}, "alias.test", "", "delivered", "alias.test"},
		{"wrong at its end", []string{"example", "test"}, "alias.test", "mx0.example", "deferred/message", ""},
		{"not validated to its end", []string{"corp.example", "test"}, "", "alias.test", "delivered", "alias.test"},
	} {
		s := &sink{}
		w := newWorld(t, nil, s)
		w.zone("corp.example. 60 IN MX 10 alias.test.", "alias.test. 60 IN CNAME mx0.example.")
		for _, zone := range append(test.signed, "alias.test") {
			w.server.Sign(zone)
		}
		if test.right != "" {
			w.tlsa(test.right, 3, 1, 1, keyOf(t, s.chain))
		}
		if test.wrong != "" {
			w.tlsa(test.wrong, 3, 1, 1, make([]byte, 32))
		}
		got, last := w.send("a@corp.example")
		want := ""
		if test.sni != "" {
			want = "tls " + test.sni + " a@corp.example"
		}
		if got != test.outcome || s.took() != want {
			t.Errorf("%s: %s (%s), taken %q", test.name, got, last, s.took())
		}
	}
}

// TestDANEOfOneHost: a host that cannot prove itself is left, another one is taken.
func TestDANEOfOneHost(t *testing.T) {
	all := []*sink{{}, {}}
	w := newWorld(t, nil, all...)
	w.zone("corp.example. 60 IN MX 10 mx0.example.", "corp.example. 60 IN MX 20 mx1.example.")
	w.server.Sign("example")
	w.tlsa("mx0.example", 3, 1, 1, make([]byte, 32))
	w.tlsa("mx1.example", 3, 1, 1, keyOf(t, all[1].chain))
	w.want("a@corp.example", "delivered", "taken")
	wantTaken(t, all, "", "tls mx1.example a@corp.example")
}
