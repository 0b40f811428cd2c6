package report

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/incident"
	"github.com/mxkeep/mxkeep/relay/spill"
)

// fact is a ledger line, or how a message stands in the queue.
type fact struct {
	Line    *queue.Entry      `json:"line,omitempty"`
	Waiting *incident.Waiting `json:"waiting,omitempty"`
}

// facts gathers what is known of messages, in any order of messages.
type facts struct{ *spill.Sorter }

func newFacts(dir string) (facts, error) {
	s, err := spill.New(dir)
	return facts{s}, err
}

func (f facts) line(e queue.Entry) error { return f.put(string(e.ID), fact{Line: &e}) }

func (f facts) waiting(w incident.Waiting) error { return f.put(string(w.ID), fact{Waiting: &w}) }

func (f facts) put(id string, one fact) error {
	text, err := json.Marshal(one)
	if err != nil {
		return err
	}
	return f.Add(id, text)
}

// rows yields the rows of an incident, message by message in the order of IDs.
func (f facts) rows(i health.Incident) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var m *letter
		end := func() bool {
			for _, r := range m.rows() {
				if !yield(r, nil) {
					return false
				}
			}
			return true
		}
		for record, err := range f.Sorted() {
			var one fact
			if err == nil {
				err = json.Unmarshal(record.Value, &one)
			}
			if err != nil {
				yield(Row{}, fmt.Errorf("message %s: %w", record.Key, err))
				return
			}
			if m == nil || record.Key != string(m.id) {
				if m != nil && !end() {
					return
				}
				m = &letter{incident: i, id: queue.ID(record.Key)}
			}
			m.take(one)
		}
		if m != nil {
			end()
		}
	}
}

// letter is one message. What its lines say is taken as incident.Reckon takes it.
type letter struct {
	incident health.Incident
	id       queue.ID
	known    bool // its acceptance
	people   []person
	byName   map[string]int
}

// person is one recipient of it.
type person struct {
	row    Row
	before bool // final, or refused, before the incident began
	done   bool // final: the state says how
	state  queue.State
	here   bool // it was found in the queue
}

func (m *letter) take(f fact) {
	switch {
	case f.Line != nil && !m.known && incident.Begins(m.incident, *f.Line):
		m.accepted(*f.Line)
		m.happened(*f.Line)
	case f.Line != nil && m.known && f.Line.Event != queue.Accepted && f.Line.Event != queue.Adopted:
		m.happened(*f.Line)
	case f.Waiting != nil && m.known:
		for n, name := range f.Waiting.Recipients {
			if at, known := m.byName[name]; known && n < len(f.Waiting.States) && !m.people[at].done {
				m.people[at].here, m.people[at].state = true, f.Waiting.States[n]
			}
		}
	}
}

func (m *letter) accepted(e queue.Entry) {
	m.known, m.byName = true, map[string]int{}
	o := e.Origin
	row := Row{ID: e.ID, MessageID: line(e.MessageID), ReceivedAt: whole(e.At), ClientIP: line(o.Address), SenderDomain: line(strings.ToLower(e.ReversePath[strings.LastIndexByte(e.ReversePath, '@')+1:])),
		Size: e.Size, Sender: line(e.ReversePath), ClientName: line(o.Host), ClientHello: line(o.Hello), ClientTLS: line(o.TLS), SPF: line(o.Auth.MailFrom.Result), DMARC: line(o.Auth.DMARC.Result)}
	if e.Digest != nil {
		row.Digest = hex.EncodeToString(e.Digest[:])
	}
	var signed []string
	for _, s := range o.Auth.DKIM {
		signed = append(signed, line(s.Result+" "+s.Domain))
	}
	row.DKIM = strings.Join(signed, "; ")
	for _, name := range e.Recipients {
		row.Recipient = line(name)
		m.byName[name] = len(m.people)
		m.people = append(m.people, person{row: row})
	}
}

// happened takes in what a line says about recipients.
func (m *letter) happened(e queue.Entry) {
	for n, name := range e.Recipients {
		at, known := m.byName[name]
		if !known {
			continue
		}
		p := &m.people[at]
		switch e.Event {
		case queue.Delete:
			p.settle(queue.StateDeleted)
			p.row.EndedAt = whole(e.At)
		case queue.Undelete, queue.Retry:
			p.done, p.here, p.row.EndedAt = false, false, time.Time{}
		}
		if n < len(e.Results) {
			p.result(e, e.Results[n], m.incident)
		}
	}
}

// settle makes it final; what left before it came into the trash has left.
func (p *person) settle(s queue.State) {
	if !p.done || p.state == queue.StateDeleted {
		p.done, p.state = true, s
	}
}

// acceptance is what Exchange Online says of a message that it took.
var acceptance = regexp.MustCompile(`\[InternalId=(\d{1,20})(?:,\s?Hostname=([A-Za-z0-9.-]{1,255}))?\]`)

// final is the state that an action leads to; false if to none.
func final(a queue.Action) (queue.State, bool) {
	switch a {
	case queue.Delivered:
		return queue.StateDelivered, true
	case queue.Failed:
		return queue.StateFailed, true
	case queue.Expired:
		return queue.StateExpired, true
	}
	return 0, false
}

// result takes in how an attempt ended.
func (p *person) result(e queue.Entry, r queue.Result, i health.Incident) {
	early := e.At.Before(i.Began)
	state, is := final(r.Action)
	if early && (is || r.Action == queue.Refused) {
		p.before = true
		return
	}
	if is {
		p.settle(state)
	}
	if is || r.Action == queue.Refused {
		p.row.EndedAt = whole(r.At)
	}
	p.row.Unconfirmed = p.row.Unconfirmed || r.MaybeDuplicate
	if r.Action == queue.Queued || e.Event == queue.Bounce {
		return
	}
	row := &p.row
	text := line(strings.TrimSpace(r.Reply.Enhanced + " " + r.Reply.Text))
	if row.Attempts++; row.Attempts == 1 {
		row.FirstCode, row.FirstText = r.Reply.Code, text
	}
	row.FinalCode, row.FinalText, row.NextHop, row.NextAddress, row.Session = r.Reply.Code, text, line(r.Host), line(r.Address), line(r.RemoteSession)
	if r.Action == queue.Delivered {
		row.DeliveredAt = whole(r.At)
		if found := acceptance.FindStringSubmatch(r.Reply.Text); found != nil {
			row.InternalID, row.Host = found[1], found[2]
		}
	}
}

// rows are those of the recipients that count.
func (m *letter) rows() []Row {
	var all []Row
	for _, p := range m.people {
		switch {
		case p.before:
			continue
		case p.done || p.here:
			p.row.State = p.state.String()
		default:
			p.row.State = Unaccounted
		}
		all = append(all, p.row)
	}
	return all
}
