package inbound

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/queue/queuetest"
	"github.com/mxkeep/mxkeep/relay/auth"
	"github.com/mxkeep/mxkeep/relay/auth/arc"
	"github.com/mxkeep/mxkeep/relay/dns/dnstest"
)

// sealing makes a sealer whose key is in the DNS; Received is sealed, too.
func sealing(t testing.TB, server *dnstest.Server) func(*Options) {
	t.Helper()
	key, err := arc.NewKey(arc.Ed25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := key.Record()
	server.AddTXT("arc1._domainkey.d.example", text)
	s, err := arc.NewSealer(key, "d.example", "arc1", append(arc.DefaultHeaders(), "received"))
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) {
		checking(t, server, nil)(o)
		o.Authentication.Sealer = s
	}
}

// chainOf is the chain of a message as it leaves.
func chainOf(t testing.TB, server *dnstest.Server, message string) arc.Chain {
	t.Helper()
	m, err := arc.Read(auth.Strip(strings.NewReader(message), "mx2.example"))
	if err != nil {
		t.Fatal(err)
	}
	return m.Verify(t.Context(), arc.Options{Resolver: server.Resolver(t)})
}

// TestSealMatchesWhatLeaves: with our trace fields in front, and without the
// fields that are taken out, by each way that content comes.
func TestSealMatchesWhatLeaves(t *testing.T) {
	for _, way := range []string{"DATA", "BDAT", "after the primary failed"} {
		for name, content := range map[string]string{
			"a letter":           "From: s@far.example\r\nSubject: x \r\n\ty\r\n\r\nbody  \r\n\r\n",
			"a forged claim":     claiming + "From: s@far.example\r\n" + claiming + "\r\nbody\r\n",
			"a first line folds": " odd\r\nFrom: s@far.example\r\n\r\nbody\r\n",
			"no body":            "From: s@far.example\r\n",
		} {
			t.Run(way+", "+name, func(t *testing.T) {
				server := registry(t)
				m, message := sealedBy(t, way, sealing(t, server), content)
				if !m.Envelope.Origin.Auth.ARC.Sealed || m.Envelope.Origin.Auth.ARC.Result != "none" {
					t.Errorf("%+v", m.Envelope.Origin.Auth.ARC)
				}
				if !strings.HasPrefix(message, "ARC-Seal: i=1; a=ed25519-sha256; cv=none; d=d.example; s=arc1; ") ||
					!strings.Contains(message, "\r\nARC-Authentication-Results: i=1; mx2.example;\r\n\tspf=pass smtp.mailfrom=far.example;\r\n") {
					t.Errorf("message %q", message)
				}
				if chain := chainOf(t, server, message); chain.Status != arc.Pass {
					t.Errorf("%s: %s\n%q", chain.Status, chain.Reason, message)
				}
				if chain := chainOf(t, server, strings.Replace(message, "Received: from", "Received: by", 1)); chain.Status != arc.Fail {
					t.Errorf("our own Received is not sealed: %s", chain.Status)
				}
			})
		}
	}
}

// sealedBy lets a message come one way, and returns it as it is stored.
func sealedBy(t *testing.T, way string, change func(*Options), content string) (queue.Message, string) {
	t.Helper()
	var r *rig
	end := func() { r.finish() }
	if way == "after the primary failed" {
		g := front(t, change, begin+agreed+"\ncontent\ncut")
		r, end = g.rig, g.over
	} else {
		r = newRig(t, change)
	}
	w := r.dial("192.0.2.1").hello().envelope()
	if way == "BDAT" {
		w.say(chunked(content, 1000))
	} else {
		w.ask("DATA", "354")
		w.say(content + ".\r\n")
	}
	w.want("250 2.0.0 queued as")
	w.close()
	end()
	m := r.messages()[0]
	trace, kept := r.content(m.ID)
	if kept != content {
		t.Errorf("content %q", kept)
	}
	return m, trace + kept
}

// TestChainsAreGoneOnWith: a second server of ours goes on with the chain of the
// first; what was changed between them is told, and ends the chain.
func TestChainsAreGoneOnWith(t *testing.T) {
	server := registry(t)
	change := sealing(t, server)
	letter := "From: s@far.example\r\n\r\nbody\r\n"
	good := begun(t, change, letter)
	broken := strings.Replace(good, "From: s@", "From: t@", 1)
	m, twice := sealedBy(t, "DATA", change, broken)
	a := m.Envelope.Origin.Auth.ARC
	if a.Result != "fail" || !a.Sealed || a.Reason == "" || len(a.Sealers) != 1 || a.Sealers[0] != "d.example" || !strings.HasPrefix(twice, "ARC-Seal: i=2; a=ed25519-sha256; cv=fail;") {
		t.Errorf("%+v\n%q", a, twice)
	}
	if !strings.Contains(twice, "\r\n\tarc=fail\r\n\t  reason=") {
		t.Errorf("Authentication-Results say nothing of it: %q", twice)
	}
	m, good = sealedBy(t, "DATA", change, good)
	a = m.Envelope.Origin.Auth.ARC
	if a.Result != "pass" || !a.Sealed || a.OldestPass != 0 || len(a.Sealers) != 1 || !strings.HasPrefix(good, "ARC-Seal: i=2; a=ed25519-sha256; cv=pass;") {
		t.Errorf("%+v\n%q", a, good)
	}
	if chain := chainOf(t, server, good); chain.Status != arc.Pass || len(chain.Sets) != 2 {
		t.Errorf("%+v", chain)
	}
	// A chain that has ended is left alone, and the mail is taken.
	ended := begun(t, change, broken)
	if m, last := sealedBy(t, "DATA", change, ended); m.Envelope.Origin.Auth.ARC.Sealed || strings.HasPrefix(last, "ARC-") || m.Envelope.Origin.Auth.ARC.Result != "fail" {
		t.Errorf("%+v\n%q", m.Envelope.Origin.Auth.ARC, last)
	}
}

// begun is a message that another server of the same sealer has had.
func begun(t testing.TB, change func(*Options), content string) string {
	t.Helper()
	var o Options
	change(&o)
	id := auth.Identity{Client: netip.MustParseAddr("192.0.2.1")}
	e, err := o.Authentication.Verifier.Examine(t.Context(), id, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil })
	if err != nil {
		t.Fatal(err)
	}
	set, err := e.Seal(o.Authentication.Sealer, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return string(set) + content
}

// TestUnsealedWhileKeysAreMissing: nobody knows what the chain is worth, so
// nothing is said of it, and the mail is taken.
func TestUnsealedWhileKeysAreMissing(t *testing.T) {
	server := registry(t)
	change := sealing(t, server)
	once := begun(t, change, "From: s@far.example\r\n\r\nbody\r\n")
	server = registry(t)
	change = sealing(t, server)
	server.Trouble("arc1._domainkey.d.example", dnstest.Fail)
	m, message := sealedBy(t, "DATA", change, once)
	if a := m.Envelope.Origin.Auth.ARC; a.Result != "temperror" || a.Sealed || !strings.HasPrefix(message, "Authentication-Results: mx2.example;") ||
		strings.Contains(message[:strings.Index(message, "Received")], "\tarc=") {
		t.Errorf("%+v\n%q", a, message)
	}
}

// secondFails is a store whose drafts can be read once; of the second reader
// only the beginning.
type secondFails struct {
	*queuetest.Memory
	open bool // the second cannot be opened at all
}

func (s secondFails) Create(ctx context.Context) (queue.Draft, error) {
	d, err := s.Memory.Create(ctx)
	return &secondFailing{Draft: d, open: s.open}, err
}

type secondFailing struct {
	queue.Draft
	open bool
	n    int
}

func (s *secondFailing) Content() (io.ReadCloser, error) {
	if s.n++; s.n == 1 {
		return s.Draft.Content()
	}
	if s.open {
		return nil, errDisk
	}
	return io.NopCloser(failingReader{}), nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errDisk }

// TestUnreadChain: who cannot read the message again does not seal it.
func TestUnreadChain(t *testing.T) {
	server := registry(t)
	change := sealing(t, server)
	r := newRig(t, func(o *Options) {
		change(o)
		o.Store = secondFails{Memory: o.Store.(*queuetest.Memory)}
	})
	w := r.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say(note + ".\r\n")
	w.want("250")
	w.close()
	r.finish()
	if a := r.messages()[0].Envelope.Origin.Auth.ARC; a.Result != "temperror" || a.Sealed || !strings.Contains(r.log.String(), "message.unsealed") {
		t.Errorf("%+v %s", a, r.log.String())
	}
	r = newRig(t, func(o *Options) {
		change(o)
		o.Store = secondFails{o.Store.(*queuetest.Memory), true}
	})
	w = r.dial("192.0.2.1").hello().envelope()
	w.ask("DATA", "354")
	w.say(note + ".\r\n")
	w.want("451")
	w.close()
	if err := r.end(); !errors.Is(err, errDisk) {
		t.Errorf("Serve: %v", err)
	}
}
