package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"encoding/binary"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/incident"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

// clockTime is so many minutes after the first bad reply.
func clockTime(minutes float64) time.Time {
	return time.Date(2026, 3, 12, 13, 4, 10, 0, time.UTC).Add(time.Duration(minutes * float64(time.Minute)))
}

// story is a synthetic incident: an outage of some hours, with a message for
// every way that mail may go.
type story struct {
	head    incident.Head
	changes []health.Change
	samples []health.Signal
	lines   []queue.Entry
	waiting []incident.Waiting
}

const script = `"><script>alert(1)</script>`

func outage() story {
	at := clockTime
	i := health.OpenIncident("INC-2026-03-12-1", "exo", health.Seen{At: at(5), State: health.Down, Why: "3 bad probe rounds in a row, no address takes mail; last reply: 451 4.3.2 Temporary server error"}, health.ByRelay, at(0))
	i = i.Acknowledge(at(18), "j.doe", "on it").With(health.Moment{At: at(5.1), What: "notified", Actor: "ops-sms", Text: "told"}).
		With(health.Moment{At: at(27), What: "note", Actor: "j.doe", Text: "service health shows EX0000000 |" + script + " by a.meyer@corp.example"}).Link(at(27), "j.doe", "EX0000000")
	i = i.Next(health.Seen{At: at(284), State: health.Recovering, Why: "a good probe"}).Next(health.Seen{At: at(287), State: health.Up, Why: "probes go well"})
	i = i.Close(at(330), health.ByRelay, "every recipient has its account")
	i.From = at(-30)
	s := story{}
	for _, c := range []struct {
		at       float64
		from, to string
	}{{2, "up", "degraded"}, {5, "degraded", "down"}, {284, "down", "recovering"}, {287, "recovering", "up"}} {
		s.changes = append(s.changes, health.Change{At: at(c.at), Upstream: "exo", Kind: health.ChangeState, From: c.from, To: c.to, Why: "probes"})
	}
	s.changes = append(s.changes, health.Change{At: at(100), Upstream: "exo", Kind: health.ChangeOverride, From: "none", To: "down", Actor: "j.doe", Why: "until later: =test"},
		health.Change{At: at(120), Upstream: "exo", Kind: health.ChangeOverride, From: "down", To: "none", Actor: "j.doe"})
	for n := range 30 {
		class, text := health.Outage, "451 4.3.2 Temporary server error. Please try again later ATTR2 [AM0EUR02FT003.eop-EUR02.prod.protection.outlook.com 2026-03-12T13:04:10.000Z 08DB22AA6F2A4E1B]"
		switch {
		case n > 28:
			class, text = health.OK, "250 2.1.5 Recipient OK"
		case n%10 == 3:
			text = "dial tcp 198.51.100.25:25: i/o timeout"
		case n%10 == 4:
			text = "550 5.7.51 TenantInboundAttribution"
		}
		s.samples = append(s.samples, health.Signal{At: at(float64(n) * 10), Upstream: "exo", Source: health.SourceProbe, Class: class, Phase: health.PhaseRcpt, Command: "RCPT", Reply: text,
			Host: "corp-example.mail.protection.outlook.com", Address: "198.51.100.25:25", SourceIP: "203.0.113.7", Session: "08DB22AA6F2A4E1B", Took: 120 * time.Millisecond, Round: uint64(n + 1)})
	}
	s.samples = append(s.samples, health.Signal{At: at(50), Upstream: "exo", Source: health.SourceControl, Class: health.OK, Address: "192.0.2.99:25"},
		health.Signal{At: at(51), Upstream: "exo", Source: health.SourceSender, Class: health.Outage, Address: "192.0.2.44"})
	s.mail(at)
	f := incident.Figures{At: at(330), Account: incident.Account{Accepted: 9, Delivered: 5, Passed: 2}, Replies: []incident.Replies{
		{Source: health.SourceProbe, Command: "RCPT", Code: 451, Enhanced: "4.3.2", Text: "Temporary server error", Count: 23, First: at(0), Last: at(280), Servers: []string{"corp-example.mail.protection.outlook.com 198.51.100.25:25", "a", "b", "c", "d"}, Sessions: []string{"08DB22AA6F2A4E1B"}},
		{Source: health.SourceAttempt, Command: "MAIL", Code: 451, Enhanced: "4.3.2", Text: "Temporary " + script, Count: 1, First: at(1), Last: at(1)}}}
	s.head = incident.Head{At: at(400), Relay: "mx2.corp.example", Version: "0.4.0", Domains: []string{"corp.example"},
		Record: incident.Record{Incident: i, Figures: f, Timeline: incident.Timeline(i, s.changes, f, nil)}}
	return s
}

// mail is what came and went.
func (s *story) mail(at func(float64) time.Time) {
	digest := queue.Digest{1, 2, 3}
	take := func(id queue.ID, minutes float64, from, messageID string, to ...string) {
		s.lines = append(s.lines, queue.Entry{At: at(minutes).Add(123456789), Event: queue.Accepted, ID: id, Upstream: "exo", ReversePath: from, Recipients: to, MessageID: messageID, Size: 2048, Digest: &digest,
			Origin: queue.Origin{Address: "192.0.2.44", Host: "mx1.supplier.example", Hello: "mx1.supplier.example", TLS: "TLS1.3", Auth: queue.Verdicts{By: "mx2.corp.example", MailFrom: queue.SPF{Result: "pass"}, DMARC: queue.DMARC{Result: "pass"},
				DKIM: []queue.Signature{{Result: "pass", Domain: "supplier.example"}, {Result: "fail", Domain: "list.example"}}}}})
	}
	ends := func(id queue.ID, event queue.Event, minutes float64, to string, results ...queue.Result) {
		for n := range results {
			results[n].At = at(minutes).Add(500 * time.Millisecond)
		}
		s.lines = append(s.lines, queue.Entry{At: at(minutes).Add(600 * time.Millisecond), Event: event, ID: id, Upstream: map[queue.Event]string{queue.Attempted: "exo"}[event], Recipients: []string{to}, Results: results})
	}
	taken := queue.Result{Action: queue.Delivered, Reply: queue.Reply{Command: "DATA", Code: 250, Enhanced: "2.6.0", Text: "<1@supplier.example> [InternalId=4711, Hostname=AM0PR04MB1234.eurprd04.prod.outlook.com] 2300 bytes in 0.1, 20 KB/sec Queued mail for delivery"},
		Host: "corp-example.mail.protection.outlook.com", Address: "198.51.100.25:25", RemoteSession: "08DB22AA6F2A4E1B"}
	later := queue.Result{Action: queue.Deferred, Scope: queue.ScopeUpstream, Reply: queue.Reply{Command: "MAIL", Code: 451, Enhanced: "4.3.2", Text: "Temporary server error\nfor a.meyer@corp.example from 203.0.113.7"}}
	lost := later
	lost.Reply, lost.MaybeDuplicate = queue.Reply{Text: "connection reset"}, true
	unknown := queue.Result{Action: queue.Refused, Scope: queue.ScopeOneRecipient, Reply: queue.Reply{Command: "RCPT", Code: 550, Enhanced: "5.1.1", Text: "no such user"}}
	failed := unknown
	failed.Action = queue.Failed
	expired := unknown
	expired.Action = queue.Expired

	take("000000000001", -20, "early@supplier.example", "<0@supplier.example>", "early@corp.example", "late@corp.example")
	ends("000000000001", queue.Attempted, -19, "early@corp.example", taken) // final before it began: it does not count
	take("000000000002", 1, "Billing@Supplier.example", "<1@supplier.example>", "a.meyer@corp.example", "=cmd|' /C calc'!A0@corp.example")
	ends("000000000002", queue.Attempted, 2, "a.meyer@corp.example", later)
	ends("000000000002", queue.Attempted, 3, "a.meyer@corp.example", lost)
	take("000000000003", 30, "", "", "b@corp.example")
	take("000000000004", 60, "x@bulk.example", "-1+1", "gone@corp.example")
	ends("000000000002", queue.Attempted, 285, "a.meyer@corp.example", taken)
	ends("000000000002", queue.Attempted, 286, "=cmd|' /C calc'!A0@corp.example", taken)
	ends("000000000003", queue.Attempted, 287, "b@corp.example", taken)
	ends("000000000004", queue.Attempted, 288, "gone@corp.example", unknown)
	ends("000000000004", queue.Retry, 289, "gone@corp.example")
	ends("000000000004", queue.Attempted, 290, "gone@corp.example", unknown)
	ends("000000000004", queue.Bounce, 291, "gone@corp.example", failed)
	take("000000000005", 61, "x@bulk.example", "<5@bulk.example>", "trash@corp.example")
	ends("000000000005", queue.Delete, 62, "trash@corp.example")
	ends("000000000005", queue.Undelete, 63, "trash@corp.example")
	ends("000000000005", queue.Delete, 64, "trash@corp.example")
	take("000000000006", 70, "x@bulk.example", "<6@bulk.example>", "held@corp.example", "lost@corp.example", "old@corp.example")
	ends("000000000006", queue.Attempted, 300, "old@corp.example", expired)
	take("000000000007", 400, "x@bulk.example", "<7@bulk.example>", "after@corp.example") // it was up
	ends("000000000001", queue.Attempted, 292, "late@corp.example", taken)
	ends("000000000008", queue.Attempted, 293, "nobody@corp.example", taken) // its acceptance is not in the ledger
	for n := range s.lines {
		s.lines[n].Seq = uint64(n + 101)
	}
	s.waiting = []incident.Waiting{{ID: "000000000006", Recipients: []string{"held@corp.example", "old@corp.example", "who@corp.example"}, States: []queue.State{queue.StateHeld, queue.StateExpired, queue.StateQueued}},
		{ID: "000000000009", Recipients: []string{"new@corp.example"}, States: []queue.State{queue.StateQueued}}}
}

// pieces are the evidence in its order.
func (s story) pieces() []incident.Piece {
	all := []incident.Piece{{Head: &s.head}}
	for _, c := range s.changes {
		all = append(all, incident.Piece{Change: &c})
	}
	for _, one := range s.samples {
		all = append(all, incident.Piece{Sample: &one})
	}
	for _, e := range s.lines {
		all = append(all, incident.Piece{Line: &e})
	}
	for _, w := range s.waiting {
		all = append(all, incident.Piece{Waiting: &w})
	}
	return append(all, incident.Piece{End: &incident.End{Through: s.lines[len(s.lines)-1].Seq}})
}

// ledger is an export of the lines with their chain.
func (s story) ledger(w io.Writer) error {
	x := queue.NewExportWriter(w, queue.ExportHead{At: clockTime(400), Since: s.head.Record.Incident.From, After: 100})
	hash := queue.Digest{}
	for _, e := range s.lines {
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		record := append(binary.BigEndian.AppendUint32([]byte{1}, crc32.ChecksumIEEE(body)), body...)
		hash = queue.ChainLink(hash[:], e.Seq, record)
		if err := x.Line(e.Seq, hash, record); err != nil {
			return err
		}
	}
	return x.End()
}

func (s story) chain(t testing.TB) *Chain {
	t.Helper()
	var b bytes.Buffer
	if err := s.ledger(&b); err != nil {
		t.Fatal(err)
	}
	x, err := queue.VerifyExport(&b, nil)
	if err != nil || len(x.Faults) > 0 {
		t.Fatal(err, x.Faults)
	}
	return ChainOf(x)
}

// build makes the report of a story.
func (s story) build(t testing.TB, o Options) (Report, *Builder) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	b, err := NewBuilder(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	for _, p := range s.pieces() {
		if err := b.Take(p); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Finish(s.chain(t))
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

// bundled makes a bundle of it.
func (s story) bundled(t testing.TB, o Options) []byte {
	t.Helper()
	r, b := s.build(t, o)
	export := s.ledger
	if r.Redacted {
		export = nil
	}
	var out bytes.Buffer
	if err := Bundle(&out, r, b, export); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
