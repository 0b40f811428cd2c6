package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/mxkeep/mxkeep/integration/primary"
	"github.com/mxkeep/mxkeep/queue"
)

// reckoning joins three records: what the correspondents know, what the
// primary took, both out of the relay's reach, and the relay's ledger.
type reckoning struct {
	letters  map[string]*missive // by Message-ID
	arrivals []primary.Delivery
	ledger   []queue.Entry

	copies   map[place]int              // arrivals
	doubts   map[place]int              // results in the ledger that say: maybe a duplicate
	accepted map[string][]queue.Entry   // by Message-ID
	ids      map[string]map[string]bool // of arrivals, by Message-ID
	faults   []string
}

// place is where one copy belongs: to a message of the relay, and a recipient.
type place struct{ id, recipient string }

// reckon lists everything that is not as it has to be when the queue is empty.
func reckon(letters []*missive, arrivals []primary.Delivery, ledger []queue.Entry) *reckoning {
	r := &reckoning{letters: map[string]*missive{}, arrivals: arrivals, ledger: ledger, copies: map[place]int{}, doubts: map[place]int{},
		accepted: map[string][]queue.Entry{}, ids: map[string]map[string]bool{}}
	for _, l := range letters {
		r.letters[l.messageID] = l
	}
	for _, d := range arrivals {
		r.arrive(d)
	}
	for _, e := range ledger {
		r.read(e)
	}
	for _, l := range letters {
		r.settle(l)
	}
	for _, entries := range r.accepted {
		for _, e := range entries {
			r.fulfil(e)
		}
	}
	for at, n := range r.copies {
		if n > 1+r.doubts[at] {
			r.fault("%s arrived %d times for %s, and the ledger marks %d possible duplicates", at.id, n, at.recipient, r.doubts[at])
		}
	}
	slices.Sort(r.faults)
	return r
}

func (r *reckoning) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// traceID finds our id in the fields that we wrote: what we know of the author
// if we have looked, and Received.
var traceID = regexp.MustCompile(`^(?:Authentication-Results: [^\r\n]+\r\n(?:\t[^\r\n]*\r\n)+)?Received: from [^\r\n]+\r\n\tby [^\r\n]+ id ([0-9a-z]{12})[;\r]`)

// relayID is the relay's id of what arrived; "" if there is none.
func relayID(content []byte) string {
	found := traceID.FindSubmatch(content[:min(len(content), 4096)])
	if found == nil {
		return ""
	}
	return string(found[1])
}

// arrive looks at one arrival: whose it is, and whether it is whole.
func (r *reckoning) arrive(d primary.Delivery) {
	l := r.letters[d.MessageID]
	if l == nil {
		r.fault("%s arrived, which nobody has sent", d.MessageID)
		return
	}
	id := relayID(d.Content)
	head := max(0, len(d.Content)-l.size)
	trace := d.Content[:head]
	if sha256.Sum256(d.Content[head:]) != l.digest || id == "" || bytes.Count(trace, []byte("Received: ")) != 1 || !bytes.HasSuffix(trace, []byte("\r\n")) {
		r.fault("%s arrived with other bytes than it was sent", l.messageID)
	}
	if d.ReversePath != l.from {
		r.fault("%s arrived from %q, not %q", l.messageID, d.ReversePath, l.from)
	}
	if r.ids[l.messageID] == nil {
		r.ids[l.messageID] = map[string]bool{}
	}
	r.ids[l.messageID][id] = true
	for _, recipient := range d.Recipients {
		if !slices.Contains(l.to, recipient) {
			r.fault("%s arrived for %q, who is not one of its recipients", l.messageID, recipient)
		}
		r.copies[place{id, recipient}]++
	}
}

// read takes a line of the ledger into account.
func (r *reckoning) read(e queue.Entry) {
	if e.Event == queue.Accepted {
		r.accepted[e.MessageID] = append(r.accepted[e.MessageID], e)
	}
	for i, result := range e.Results {
		if result.MaybeDuplicate {
			r.doubts[place{string(e.ID), e.Recipients[i]}]++
		}
	}
}

// settle compares what a correspondent knows of its letter with the rest.
func (r *reckoning) settle(l *missive) {
	offers := l.unsure
	if l.taken != "" {
		offers++
		for _, recipient := range l.to {
			if r.copies[place{l.taken, recipient}] == 0 {
				r.fault("LOST: %s was answered with 250 and id %s, and did not arrive for %s", l.messageID, l.taken, recipient)
			}
		}
	}
	ids := map[string]bool{}
	for _, e := range r.accepted[l.messageID] {
		ids[string(e.ID)] = true
	}
	if len(ids) > offers {
		r.fault("%s was accepted %d times, and offered whole %d times", l.messageID, len(ids), offers)
	}
	if l.taken != "" && !ids[l.taken] {
		r.fault("%s is not in the ledger as %s", l.messageID, l.taken)
	}
	for id := range r.ids[l.messageID] {
		if !ids[id] {
			r.fault("%s arrived as %s, which the ledger has not accepted", l.messageID, id)
		}
	}
}

// fulfil wants what was accepted to have arrived, whether the client knows it or not.
func (r *reckoning) fulfil(e queue.Entry) {
	if r.letters[e.MessageID] == nil {
		r.fault("%s was accepted, which nobody has sent", e.MessageID)
	}
	for _, recipient := range e.Recipients {
		if r.copies[place{string(e.ID), recipient}] == 0 {
			r.fault("LOST: %s, accepted as %s, did not arrive for %s", e.MessageID, e.ID, recipient)
		}
	}
}

// recipients is how many recipients the ledger has accepted.
func (r *reckoning) recipients() (n int64) {
	for _, entries := range r.accepted {
		for _, e := range entries {
			n += int64(len(e.Recipients))
		}
	}
	return n
}

// duplicates counts the letters that arrived under two ids, which their
// correspondents have repeated, and the places that a copy came to twice.
func (r *reckoning) duplicates() (repeated, marked int) {
	for _, ids := range r.ids {
		if len(ids) > 1 {
			repeated++
		}
	}
	for _, n := range r.copies {
		if n > 1 {
			marked++
		}
	}
	return repeated, marked
}

// TestReckoning breaks each rule once.
func TestReckoning(t *testing.T) {
	const id, other = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
	text := []byte("Message-ID: <1@client.example>\r\n\r\ntext\r\n")
	type records struct {
		letters  []*missive
		arrivals []primary.Delivery
		ledger   []queue.Entry
	}
	arrival := func(id string) primary.Delivery {
		trace := "Received: from a (b [192.0.2.1])\r\n\tby mx2.corp.example (mxkeep) with ESMTP id " + id + ";\r\n\tdate\r\n"
		return primary.Delivery{MessageID: "<1@client.example>", ReversePath: "alice@client.example", Recipients: []string{"bob@corp.example"}, Content: append([]byte(trace), text...)}
	}
	line := func(event queue.Event, id string, doubt bool) queue.Entry {
		return queue.Entry{Event: event, ID: queue.ID(id), MessageID: "<1@client.example>", Recipients: []string{"bob@corp.example"}, Results: []queue.Result{{MaybeDuplicate: doubt}}}
	}
	for _, test := range []struct {
		name   string
		change func(*records)
		want   string
	}{
		{"all is well", func(*records) {}, ""},
		{"lost", func(r *records) { r.arrivals = nil }, "LOST"},
		{"lost for one recipient", func(r *records) { r.letters[0].to = append(r.letters[0].to, "carol@corp.example") }, "LOST"},
		{"arrived under another id only", func(r *records) {
			r.letters[0].unsure = 1
			r.arrivals[0] = arrival(other)
			r.ledger = append(r.ledger, line(queue.Accepted, other, false))
		}, "LOST"},
		{"accepted without the client knowing, and lost", func(r *records) {
			r.letters[0].unsure = 1
			r.ledger = append(r.ledger, line(queue.Accepted, other, false))
		}, "LOST"},
		{"cut", func(r *records) { r.arrivals[0].Content = r.arrivals[0].Content[:len(r.arrivals[0].Content)-2] }, "other bytes"},
		{"cut at the front", func(r *records) { r.arrivals[0].Content = text[2:] }, "other bytes"},
		{"without a trace", func(r *records) { r.arrivals[0].Content = text }, "other bytes"},
		{"two traces", func(r *records) {
			r.arrivals[0].Content = slices.Concat(r.arrivals[0].Content[:len(r.arrivals[0].Content)-len(text)], r.arrivals[0].Content)
		}, "other bytes"},
		{"never sent", func(r *records) { r.letters = nil }, "nobody has sent"},
		{"another sender", func(r *records) { r.arrivals[0].ReversePath = "mallory@client.example" }, "arrived from"},
		{"another recipient", func(r *records) { r.arrivals[0].Recipients = []string{"bob@corp.example", "mallory@corp.example"} }, "not one of its recipients"},
		{"twice", func(r *records) { r.arrivals = append(r.arrivals, arrival(id)) }, "arrived 2 times"},
		{"twice and marked", func(r *records) {
			r.arrivals = append(r.arrivals, arrival(id))
			r.ledger = append(r.ledger, line(queue.Interrupted, id, true))
		}, ""},
		{"three times and marked once", func(r *records) {
			r.arrivals = append(r.arrivals, arrival(id), arrival(id))
			r.ledger = append(r.ledger, line(queue.Interrupted, id, true))
		}, "arrived 3 times"},
		{"repeated", func(r *records) {
			r.letters[0].unsure = 1
			r.arrivals = append(r.arrivals, arrival(other))
			r.ledger = append(r.ledger, line(queue.Accepted, other, false))
		}, ""},
		{"accepted twice, offered once", func(r *records) {
			r.arrivals = append(r.arrivals, arrival(other))
			r.ledger = append(r.ledger, line(queue.Accepted, other, false))
		}, "was accepted 2 times"},
		{"not in the ledger", func(r *records) { r.ledger = nil }, "not in the ledger"},
		{"not taken, and arrived", func(r *records) { r.letters[0].taken = "" }, "was accepted 1 times"},
	} {
		r := &records{letters: []*missive{{messageID: "<1@client.example>", from: "alice@client.example", to: []string{"bob@corp.example"},
			size: len(text), digest: sha256.Sum256(text), taken: id}}, arrivals: []primary.Delivery{arrival(id)}, ledger: []queue.Entry{line(queue.Accepted, id, false)}}
		test.change(r)
		faults := reckon(r.letters, r.arrivals, r.ledger).faults
		found := slices.ContainsFunc(faults, func(f string) bool { return bytes.Contains([]byte(f), []byte(test.want)) })
		if found != (test.want != "") || test.want == "" && len(faults) > 0 {
			t.Errorf("%s: %q", test.name, faults)
		}
	}
}
