package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// TestALargeIncident makes and checks the bundle of a large incident, and
// bounds the memory for it. MXKEEP_SOAK=1 has a million, and takes minutes.
func TestALargeIncident(t *testing.T) {
	messages := 5_000
	if os.Getenv("MXKEEP_SOAK") != "" {
		messages = 1_000_000
	}
	const most = 300 << 20
	peak := uint64(0)
	measure := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapInuse)
	}
	began := time.Now()
	b, err := NewBuilder(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s := outage()
	if err := b.Take(incident.Piece{Head: &s.head}); err != nil {
		t.Fatal(err)
	}
	taken := queue.Result{Action: queue.Delivered, Reply: queue.Reply{Command: "DATA", Code: 250, Enhanced: "2.6.0", Text: "<1@supplier.example> [InternalId=4711, Hostname=AM0PR04MB1234.eurprd04.prod.outlook.com] 2300 bytes in 0.1, 20 KB/sec Queued mail for delivery"},
		Host: "corp-example.mail.protection.outlook.com", Address: "198.51.100.25:25", RemoteSession: "08DB22AA6F2A4E1B"}
	seq := uint64(0)
	for _, event := range []queue.Event{queue.Accepted, queue.Attempted} {
		for n := range messages {
			seq++
			id := queue.ID(fmt.Sprintf("%012d", n))
			e := queue.Entry{Seq: seq, At: clockTime(1).Add(time.Duration(n) * 10 * time.Millisecond), Event: event, ID: id, Upstream: "exo", Recipients: []string{fmt.Sprintf("u%d@corp.example", n%2000)}}
			if event == queue.Accepted {
				e.ReversePath, e.MessageID, e.Size = fmt.Sprintf("a@s%d.example", n), fmt.Sprintf("<%d@sender.example>", n), 2000
			} else {
				taken.At = e.At.Add(280 * time.Minute)
				e.At, e.Results = taken.At, []queue.Result{taken}
			}
			if err := b.Take(incident.Piece{Line: &e}); err != nil {
				t.Fatal(err)
			}
			if seq%50_000 == 0 {
				measure()
			}
		}
	}
	if err := b.Take(incident.Piece{End: &incident.End{Through: seq}}); err != nil {
		t.Fatal(err)
	}
	r, err := b.Finish(nil)
	if err != nil {
		t.Fatal(err)
	}
	measure()
	file, err := os.CreateTemp(t.TempDir(), "bundle")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := Bundle(file, r, b, nil); err != nil {
		t.Fatal(err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	made := time.Since(began)
	v, err := Verify(file, size, t.TempDir(), "0.4.0")
	measure()
	if err != nil || len(v.Faults) > 0 || v.Rows != int64(messages) || r.Mail.Domains != int64(messages) || r.Mail.Addresses != int64(min(messages, 2000)) {
		t.Errorf("%+v, %v", v, err)
	}
	if peak > most {
		t.Errorf("%d MiB of heap", peak>>20)
	}
	if page, err := HTML(r, Everybody); err != nil || len(page) > 1<<20 || bytes.Count(page, []byte("<svg")) != 3 {
		t.Errorf("%d bytes, %v", len(page), err)
	}
	t.Logf("%d messages: made in %v, verified in %v, bundle of %d MiB, %d MiB of heap", messages, made.Round(time.Millisecond), time.Since(began)-made, size>>20, peak>>20)
}
