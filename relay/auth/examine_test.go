package auth

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mxkeep/mxkeep/relay/auth/arc"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// reading opens a text any number of times.
func reading(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

func examine(t testing.TB, server *dnstest.Server, text string) Examination {
	t.Helper()
	e, err := verifier(t, server).Examine(t.Context(), from("alice@sender.example"), reading(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newSealer(t testing.TB, server *dnstest.Server) *arc.Sealer {
	t.Helper()
	key, err := arc.NewKey(arc.Ed25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := key.Record()
	server.AddTXT("arc1._domainkey.corp.example", text)
	s, err := arc.NewSealer(key, "corp.example", "arc1", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestExamination: what is said of a chain, in the field and in the set.
func TestExamination(t *testing.T) {
	server := town(t)
	s := newSealer(t, server)
	e := examine(t, server, plainMessage)
	if e.Chain.Status != arc.None || e.DMARC.Result != Pass || strings.Contains(string(e.Field()), "\tarc=") || !strings.HasSuffix(e.Results(), ";\r\n\tarc=none smtp.remote-ip=192.0.2.25") {
		t.Errorf("%+v\n%s", e, e.Results())
	}
	const trace = "Received: by mx2.corp.example\r\n"
	set, err := e.Seal(s, []byte(trace), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e = examine(t, server, string(set)+trace+plainMessage)
	if e.Chain.Status != arc.Pass || !strings.HasSuffix(string(e.Field()), ";\r\n\tarc=pass header.oldest-pass=0 smtp.remote-ip=192.0.2.25\r\n") {
		t.Errorf("%+v\n%s", e.Chain, e.Field())
	}
	e.client = netip.MustParseAddr("2001:db8::1")
	if !strings.HasSuffix(e.Results(), ` smtp.remote-ip="2001:db8::1"`) {
		t.Error(e.Results())
	}
	e = examine(t, server, "ARC-Seal: i=1; \"evil\\\x1b\r\n"+plainMessage)
	if e.Chain.Status != arc.Fail || strings.ContainsAny(string(e.Field()), "\x1b") || !strings.Contains(string(e.Field()), `arc=fail`) {
		t.Errorf("%+v\n%s", e.Chain, e.Field())
	}
	if e.client = (netip.Addr{}); strings.Contains(e.Results(), "remote-ip") {
		t.Error(e.Results())
	}
}

func TestExamineCannotRead(t *testing.T) {
	server, lost := town(t), errors.New("lost")
	v := verifier(t, server)
	for fails := range 2 { // the first reader, the second
		opened := 0
		_, err := v.Examine(t.Context(), from(""), func() (io.ReadCloser, error) {
			if opened++; opened > fails {
				return nil, lost
			}
			return reading(plainMessage)()
		})
		if !errors.Is(err, lost) {
			t.Errorf("%d: %v", fails, err)
		}
	}
	e, err := v.Examine(t.Context(), from(""), func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("From: a"), iotest.ErrReader(lost))), nil
	})
	if err != nil || e.Chain.Status != arc.TempError || strings.Contains(e.Results(), "\tarc=") {
		t.Errorf("%+v %v", e.Chain, err)
	}
	if _, err := e.Seal(newSealer(t, server), nil, time.Now()); !errors.Is(err, ErrUnread) {
		t.Errorf("sealed: %v", err)
	}
}

// faulty is a reader that panics.
type faulty struct{}

func (faulty) Read([]byte) (int, error) { panic("fault") }

func TestFaultInChain(t *testing.T) {
	if _, chain := verifier(t, town(t)).chain(context.Background(), faulty{}); chain.Status != arc.TempError || chain.Reason != "fault in the check" {
		t.Errorf("%+v", chain)
	}
}

// TestOtherTimes: the end of a signature is held against Options.At.
func TestOtherTimes(t *testing.T) {
	end := time.Now().Add(-24 * time.Hour).Truncate(time.Second) // it ended yesterday
	later := end.Add(48 * time.Hour)
	options := func(end time.Time) dkim.SignOptions {
		return dkim.SignOptions{Domain: "sender.example", Selector: "s1", Expiration: end, HeaderKeys: []string{"From"}}
	}
	ended, lasting := sign(t, plainMessage, options(end)), sign(t, plainMessage, options(later))
	simple := options(end)
	simple.HeaderCanonicalization, simple.BodyCanonicalization = dkim.CanonicalizationRelaxed, dkim.CanonicalizationRelaxed
	for _, c := range []struct {
		name, message string
		at            time.Time
		trouble       bool
		want, reason  string
	}{
		{"now", ended, time.Time{}, false, PermError, "expired"},
		{"when it lasted", ended, end, false, Pass, ""},
		{"when it lasted, relaxed", sign(t, plainMessage, simple), end, false, Pass, ""},
		{"a second later", ended, end.Add(time.Second), false, PermError, "expired"},
		{"it was changed", strings.Replace(ended, "it is me", "it is I", 1), end, false, Fail, "the body was changed"},
		{"its key cannot be had", ended, end, true, TempError, "cannot be looked up"},
		{"it lasts, and at that time too", lasting, end, false, Pass, ""},
		{"it lasts, but not then", lasting, later.Add(time.Second), false, PermError, "expired"},
		{"it has no end", sign(t, plainMessage, options(time.Time{})), end, false, Pass, ""},
		{"header beyond measure", strings.Repeat("X: y\r\n", maxFields) + ended, end, false, PermError, "1000 fields"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := town(t)
			if c.trouble {
				server.Trouble("s1._domainkey.sender.example", dnstest.Fail)
			}
			v, err := New(Options{ID: ourID, Resolver: server.Resolver(t), At: c.at})
			if err != nil {
				t.Fatal(err)
			}
			found := v.Verify(t.Context(), from("x@other.example"), strings.NewReader(c.message))
			if len(found.DKIM) == 0 {
				if c.reason != "1000 fields" {
					t.Errorf("no signature: %+v", found)
				}
				return
			}
			if s := found.DKIM[0]; s.Result != c.want || !strings.Contains(s.Reason, c.reason) {
				t.Errorf("%+v, want %s (%s)", s, c.want, c.reason)
			}
			if author := c.want == Pass; found.Author != author {
				t.Errorf("author %v, want %v", found.Author, author)
			}
		})
	}
	lost := errors.New("lost")
	_, again := lookBack(end, io.MultiReader(strings.NewReader("From: a"), iotest.ErrReader(lost)))
	if _, err := io.ReadAll(again); !errors.Is(err, lost) {
		t.Errorf("an error of the reader is %v", err)
	}
}

// TestUnsealed: without a sealer, what has no chain is read once.
func TestUnsealed(t *testing.T) {
	server := town(t)
	e := examine(t, server, plainMessage)
	set, err := e.Seal(newSealer(t, server), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	v, err := New(Options{ID: "mx2.corp.example", Resolver: server.Resolver(t), Unsealed: true})
	if err != nil {
		t.Fatal(err)
	}
	for message, want := range map[string]struct {
		opened int
		status arc.Status
	}{plainMessage: {1, arc.None}, string(set) + plainMessage: {2, arc.Pass}, "Arc-x: y\r\n" + plainMessage: {2, arc.None}} {
		opened := 0
		e, err := v.Examine(t.Context(), from("alice@sender.example"), func() (io.ReadCloser, error) {
			opened++
			return reading(message)()
		})
		if err != nil || opened != want.opened || e.Chain.Status != want.status {
			t.Errorf("opened %d times, %+v, %v\n%s", opened, e.Chain, err, message)
		}
	}
}
