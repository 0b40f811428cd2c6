package admin

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/queue"
)

// ageLimits are the upper ends of the columns of a Shape, in minutes. Each is
// twice the one before, so that a steady flow grows from left to right.
var ageLimits = []int{5, 10, 20, 40, 80, 160, 320}

const (
	maxRows = 10000 // names told apart; senders choose some of them
	others  = "(others)"
)

// shapeNames says what a message is counted under.
var shapeNames = map[string]func(queue.Message, briefs) string{
	"domain": func(m queue.Message, _ briefs) string { return m.Domain() },
	"from": func(m queue.Message, _ briefs) string {
		path := strings.ToLower(m.Envelope.ReversePath)
		if path == "" {
			return "<>"
		}
		return path[strings.LastIndexByte(path, '@')+1:]
	},
	"reply":  lastReply,
	"client": func(m queue.Message, _ briefs) string { return cmp.Or(m.Envelope.Origin.Address, "(unknown)") },
	"state":  func(m queue.Message, _ briefs) string { return m.State().String() },
}

// lastReply is the last reply about a recipient that still waits, or else about
// any, without what differs each time.
func lastReply(m queue.Message, b briefs) string {
	var last queue.Reply
	for i, r := range m.Envelope.Recipients {
		if r.Last.Reply != (queue.Reply{}) {
			last = r.Last.Reply
			if !m.RecipientState(i).Final() {
				break
			}
		}
	}
	if last == (queue.Reply{}) {
		return "(none yet)"
	}
	return b.of(last)
}

// shape counts messages by age, and by why they wait.
func (s *Server) shape(r *http.Request) (any, error) {
	var request ShapeRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	by := cmp.Or(request.By, "domain")
	name, ok := shapeNames[by]
	if !ok {
		return nil, fail(CodeBadRequest, "cannot count by %q (there are domain from reply client state)", by)
	}
	filter, err := queue.ParseFilter(request.Where)
	if err != nil {
		return nil, err
	}
	v := s.view(time.Now())
	var oldest time.Duration
	all, rows, why, seen := newRow("all"), map[string]*Row{}, map[string]int{}, briefs{}
	for m, err := range readable(s.options.Store.Messages(r.Context(), filter)) {
		if err != nil {
			return nil, err
		}
		age := v.now.Sub(m.AcceptedAt)
		oldest = max(oldest, age)
		column := ageColumn(age)
		all.count(column)
		rowOf(rows, name(m, seen)).count(column)
		reason := v.whyItWaits(m, seen)
		if _, known := why[reason]; !known && len(why) >= maxRows {
			reason = others
		}
		why[reason]++
	}
	shape := Shape{Schema: SchemaShape, By: by, LimitMinutes: ageLimits, All: *all, Rows: []Row{}, Why: []Reason{}, Verdict: verdict(all.Ages, oldest)}
	for _, row := range rows {
		shape.Rows = append(shape.Rows, *row)
	}
	for text, n := range why {
		shape.Why = append(shape.Why, Reason{text, n})
	}
	slices.SortFunc(shape.Rows, func(a, b Row) int { return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Name, b.Name)) })
	slices.SortFunc(shape.Why, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Text, b.Text))
	})
	return shape, nil
}

func newRow(name string) *Row { return &Row{Name: name, Ages: make([]int, len(ageLimits)+1)} }

func (r *Row) count(column int) {
	r.Total++
	r.Ages[column]++
}

// rowOf finds the row of a name. When there are too many names, new ones share a row.
func rowOf(rows map[string]*Row, name string) *Row {
	if row, ok := rows[name]; ok {
		return row
	}
	if len(rows) >= maxRows {
		name = others
	}
	if rows[name] == nil {
		rows[name] = newRow(name)
	}
	return rows[name]
}

func ageColumn(age time.Duration) int {
	for i, limit := range ageLimits {
		if age < time.Duration(limit)*time.Minute {
			return i
		}
	}
	return len(ageLimits)
}

// whyItWaits says in words why a message has not left yet.
func (v view) whyItWaits(m queue.Message, b briefs) string {
	reason, _ := v.next(m)
	switch reason {
	case "held":
		return "held: " + m.Held
	case "refused":
		return "refused and kept: " + lastReply(m, b)
	case "active":
		return "being delivered now"
	case "none":
		return "does not wait: " + m.State().String()
	}
	if m.State() == queue.StateDeferred {
		return lastReply(m, b)
	}
	switch reason {
	case "on_recovery":
		return "not tried yet: " + m.Envelope.Upstream + " is down"
	case "paused":
		return "not tried yet: delivery to " + m.Envelope.Upstream + " is paused"
	case "scheduled":
		return "not tried yet: a first attempt is planned"
	}
	return "not tried yet: due now"
}
