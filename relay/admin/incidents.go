package admin

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/relay/incident"
)

// Incidents is what admin needs of an incident.Keeper.
type Incidents interface {
	List() []health.Incident
	Record(ctx context.Context, id string) (incident.Record, error)
	Open(ctx context.Context, upstream, actor, reason string) (health.Incident, error)
	Note(id string, m health.Moment) (health.Incident, error)
	Acknowledge(id, actor, text string) (health.Incident, error)
	Link(id, actor, other string) (health.Incident, error)
	Close(ctx context.Context, id, actor, reason string, confirmed int64) (i health.Incident, waiting int64, err error)
	Changes(ctx context.Context, upstream string, from, until time.Time) iter.Seq2[health.Change, error]
	Trouble() []string
	Evidence(ctx context.Context, id string, emit func(incident.Piece) error) error
	Expiring() incident.Expiring
}

// The schemas of incidents and of the history.
const (
	SchemaIncident = "mxkeep.incident/1"
	SchemaHistory  = "mxkeep.health.change/1"
)

// CodeIncidentState says that an incident is not in a state that allows what was asked.
const CodeIncidentState = "incident_state"

// LastIncident stands for the incident that goes on, or else the last one.
const LastIncident = "last"

// Incident is an outage of an upstream.
type Incident struct {
	Schema       string           `json:"schema"`
	ID           string           `json:"id"`
	Upstream     string           `json:"upstream"`
	State        string           `json:"state"` // open, recovering, drained, closed
	OpenedBy     string           `json:"opened_by"`
	Why          string           `json:"why"`
	BeganAt      Time             `json:"began_at"`
	OpenedAt     Time             `json:"opened_at"`
	RecoveringAt Time             `json:"recovering_at"`
	UpAt         Time             `json:"up_at"`
	DrainedAt    Time             `json:"drained_at"`
	ClosedAt     Time             `json:"closed_at"`
	Lasted       float64          `json:"lasted_seconds"` // from its beginning until the upstream was up, or now
	AckedAt      Time             `json:"acknowledged_at"`
	AckedBy      string           `json:"acknowledged_by"`
	Links        []string         `json:"links"`
	Unsettled    string           `json:"unsettled"` // why it does not close by itself
	Waiting      int64            `json:"waiting_recipients"`
	Figures      *IncidentFigures `json:"figures"`
	Timeline     []Moment         `json:"timeline"` // null in a list
}

// IncidentFigures are what became of the mail of an incident.
type IncidentFigures struct {
	At            Time              `json:"at"`
	Messages      int64             `json:"messages"`
	Bytes         int64             `json:"bytes"`
	Domains       int64             `json:"sender_domains"`
	Addresses     int64             `json:"recipient_addresses"`
	ByState       map[string]int64  `json:"messages_by_state"`
	Account       incident.Account  `json:"recipients"`
	MaybeTwice    int64             `json:"maybe_delivered_twice"`
	DelayMedian   float64           `json:"delay_median_seconds"`
	DelayP95      float64           `json:"delay_p95_seconds"`
	DelayP99      float64           `json:"delay_p99_seconds"`
	DelayWorst    float64           `json:"delay_worst_seconds"`
	FirstDelivery Time              `json:"first_delivery_at"`
	LastDelivery  Time              `json:"last_delivery_at"`
	Unread        int64             `json:"unread_records"`
	NoHistory     bool              `json:"no_history"`
	Replies       []IncidentReplies `json:"replies"` // null in a list
}

// IncidentReplies are equal replies to attempts, or to probes.
type IncidentReplies struct {
	Source   string   `json:"source"`
	Command  string   `json:"command"`
	Code     int      `json:"code"`
	Enhanced string   `json:"enhanced"`
	Text     string   `json:"text"`
	Count    int64    `json:"count"`
	FirstAt  Time     `json:"first_at"`
	LastAt   Time     `json:"last_at"`
	Servers  []string `json:"servers"`
	Sessions []string `json:"sessions"`
}

// Moment is a line of a timeline.
type Moment struct {
	At    Time   `json:"at"`
	What  string `json:"what"`
	Actor string `json:"actor"`
	Text  string `json:"text"`
}

// IncidentRequest asks to open an incident, or to change one.
type IncidentRequest struct {
	Upstream string `json:"upstream,omitempty"` // of open; "" is the only one
	Text     string `json:"text,omitempty"`     // reason, note, or the name of somebody else's incident
	Confirm  *int64 `json:"confirm,omitempty"`  // of close: for how many recipients it is not over
	DryRun   bool   `json:"dry_run,omitempty"`
}

// HistoryChange is a change of what was thought of an upstream.
type HistoryChange struct {
	Schema   string `json:"schema"`
	At       Time   `json:"at"`
	Upstream string `json:"upstream"`
	Kind     string `json:"kind"` // state, override, throttled, misconfigured, network
	From     string `json:"from"`
	To       string `json:"to"`
	Actor    string `json:"actor"`
	Why      string `json:"why"`
}

// kept reports what keeps incidents; an error if nothing does.
func (s *Server) kept() (Incidents, error) {
	if s.options.Incidents == nil {
		return nil, fail(CodeRefused, "this relay keeps no incidents")
	}
	return s.options.Incidents, nil
}

// incidents streams all incidents, the newest first, without replies and timelines.
func (s *Server) incidents(w http.ResponseWriter, r *http.Request) {
	all, err := s.kept()
	if err != nil {
		writeError(w, err)
		return
	}
	out := newStream(w)
	for _, i := range slices.Backward(all.List()) {
		record, err := all.Record(r.Context(), i.ID)
		if err != nil {
			out.end(asError(err))
			return
		}
		d := describeIncident(record, time.Now())
		d.Timeline, d.Figures.Replies = nil, nil
		if out.write(d) != nil {
			return // the client has gone
		}
	}
}

// named finds the id of a request.
func named(all Incidents, id string) (string, error) {
	if id != LastIncident {
		return strings.ToUpper(id), nil
	}
	last := ""
	for _, i := range all.List() {
		last = i.ID
	}
	for _, i := range all.List() {
		if i.State != health.IncidentClosed {
			last = i.ID
		}
	}
	if last == "" {
		return "", fail(CodeNotFound, "there has been no incident")
	}
	return last, nil
}

func (s *Server) getIncident(r *http.Request) (any, error) {
	all, err := s.kept()
	if err != nil {
		return nil, err
	}
	id, err := named(all, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return s.incident(r.Context(), all, id)
}

func (s *Server) incident(ctx context.Context, all Incidents, id string) (Incident, error) {
	record, err := all.Record(ctx, id)
	if err != nil {
		return Incident{}, incidentError(err)
	}
	return describeIncident(record, time.Now()), nil
}

// incidentError gives the errors of incidents their codes.
func incidentError(err error) error {
	switch {
	case errors.Is(err, incident.ErrNotFound):
		return fail(CodeNotFound, "%v", err)
	case errors.Is(err, incident.ErrState):
		return fail(CodeIncidentState, "%v", err)
	}
	return err
}

func (s *Server) openIncident(r *http.Request) (any, error) {
	var request IncidentRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	all, err := s.kept()
	if err != nil {
		return nil, err
	}
	u, err := s.upstream(request.Upstream)
	if err != nil {
		return nil, err
	}
	if err := request.check("open"); err != nil {
		return nil, err
	}
	if request.DryRun {
		return Incident{Schema: SchemaIncident, Upstream: u.Name, State: string(health.IncidentOpen), OpenedBy: actor(r.Context()), Why: request.Text, Links: []string{}}, nil
	}
	if err := s.note(r.Context(), u.Name, "incident open: "+request.Text); err != nil {
		return nil, err
	}
	i, err := all.Open(r.Context(), u.Name, actor(r.Context()), request.Text)
	if err != nil {
		return nil, incidentError(err)
	}
	return s.incident(r.Context(), all, i.ID)
}

// check wants words where they are needed, and not too many.
func (q IncidentRequest) check(verb string) error {
	switch {
	case q.Text == "" && verb == "open":
		return fail(CodeReasonRequired, "open needs a reason")
	case q.Text == "" && (verb == "note" || verb == "link"):
		return fail(CodeBadRequest, "%s needs a text", verb)
	case len(q.Text) > maxReason:
		return fail(CodeBadRequest, "text of %d bytes; %d are allowed", len(q.Text), maxReason)
	}
	return nil
}

// changeIncident is note, link, ack and close.
func (s *Server) changeIncident(r *http.Request) (any, error) {
	var request IncidentRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	all, err := s.kept()
	if err != nil {
		return nil, err
	}
	id, err := named(all, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	verb := r.PathValue("verb")
	do := map[string]func(id, actor, text string) (health.Incident, error){
		"ack":  all.Acknowledge,
		"link": all.Link,
		"note": func(id, actor, text string) (health.Incident, error) {
			return all.Note(id, health.Moment{What: "note", Actor: actor, Text: text})
		},
	}[verb]
	if do == nil && verb != "close" {
		return nil, fail(CodeBadRequest, "no verb %q of an incident (there are note link ack close)", verb)
	}
	if err := request.check(verb); err != nil {
		return nil, err
	}
	before, err := s.incident(r.Context(), all, id)
	if err != nil || request.DryRun {
		return before, err
	}
	if verb == "close" {
		return s.closeIncident(r.Context(), all, before, request)
	}
	if err := s.note(r.Context(), before.Upstream, "incident "+verb+" "+id+": "+request.Text); err != nil {
		return nil, err
	}
	if _, err := do(id, actor(r.Context()), request.Text); err != nil {
		return nil, incidentError(err)
	}
	return s.incident(r.Context(), all, id)
}

// closeIncident wants a reason, and the number of recipients for which it is
// not over, if there are any.
func (s *Server) closeIncident(ctx context.Context, all Incidents, before Incident, request IncidentRequest) (any, error) {
	switch {
	case before.Waiting == 0:
	case request.Text == "":
		return nil, fail(CodeReasonRequired, "close needs a reason: it is not over for %s", count(before.Waiting, "recipient"))
	case request.Confirm == nil:
		return nil, fail(CodeCountRequired, "close needs the number of recipients for which it is not over, %d", before.Waiting)
	case *request.Confirm != before.Waiting:
		return nil, notThat(before.Waiting, *request.Confirm)
	}
	confirmed := int64(0)
	if request.Confirm != nil {
		confirmed = *request.Confirm
	}
	if err := s.note(ctx, before.Upstream, "incident close "+before.ID+": "+request.Text); err != nil {
		return nil, err
	}
	_, waiting, err := all.Close(ctx, before.ID, actor(ctx), request.Text, confirmed)
	if err != nil {
		return nil, incidentError(err)
	}
	if waiting != confirmed {
		return nil, notThat(waiting, confirmed)
	}
	return s.incident(ctx, all, before.ID)
}

func notThat(waiting, confirmed int64) error {
	return fail(CodeCountChanged, "it is not over for %d recipients, not %d; nothing was changed", waiting, confirmed)
}

func describeIncident(r incident.Record, now time.Time) Incident {
	i, a := r.Incident, r.Figures.Account
	end := cmp.Or(i.Until, i.ClosedAt, now)
	d := Incident{Schema: SchemaIncident, ID: i.ID, Upstream: i.Upstream, State: string(i.State), OpenedBy: i.Opener, Why: i.Why,
		BeganAt: Time{i.Began}, OpenedAt: Time{i.Opened}, RecoveringAt: Time{i.RecoveringAt}, UpAt: Time{i.UpAt}, DrainedAt: Time{i.DrainedAt}, ClosedAt: Time{i.ClosedAt},
		Lasted: max(0, Seconds(end.Sub(i.Began))), AckedAt: Time{i.Acked.At}, AckedBy: i.Acked.Actor, Links: append([]string{}, i.Links...),
		Unsettled: i.Unsettled, Waiting: a.Queued + a.SetAside + a.Remainder, Figures: describeFigures(r.Figures), Timeline: []Moment{}}
	for _, m := range r.Timeline {
		d.Timeline = append(d.Timeline, Moment{At: Time{m.At}, What: m.What, Actor: m.Actor, Text: m.Text})
	}
	return d
}

func describeFigures(f incident.Figures) *IncidentFigures {
	d := &IncidentFigures{At: Time{f.At}, Messages: f.Messages, Bytes: f.Bytes, Domains: f.Domains, Addresses: f.Addresses, ByState: f.ByState, Account: f.Account,
		MaybeTwice: f.MaybeTwice, DelayMedian: Seconds(f.Delay.Median), DelayP95: Seconds(f.Delay.P95), DelayP99: Seconds(f.Delay.P99), DelayWorst: Seconds(f.Delay.Worst),
		FirstDelivery: Time{f.FirstDelivery}, LastDelivery: Time{f.LastDelivery}, Unread: f.Unread, NoHistory: f.NoHistory, Replies: []IncidentReplies{}}
	for _, r := range f.Replies {
		d.Replies = append(d.Replies, IncidentReplies{Source: string(r.Source), Command: r.Command, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text, Count: r.Count,
			FirstAt: Time{r.First}, LastAt: Time{r.Last}, Servers: append([]string{}, r.Servers...), Sessions: append([]string{}, r.Sessions...)})
	}
	return d
}

// history streams the changes of an upstream, or of all, since an instant.
func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	all, err := s.kept()
	if err != nil {
		writeError(w, err)
		return
	}
	since, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
	if err != nil {
		writeError(w, fail(CodeBadRequest, "since: %v", err))
		return
	}
	upstream := r.URL.Query().Get("upstream")
	if upstream != "" {
		if _, err := s.upstream(upstream); err != nil {
			writeError(w, err)
			return
		}
	}
	out := newStream(w)
	for c, err := range all.Changes(r.Context(), upstream, since, time.Time{}) {
		if err == nil {
			err = out.write(HistoryChange{Schema: SchemaHistory, At: Time{c.At}, Upstream: c.Upstream, Kind: string(c.Kind), From: c.From, To: c.To, Actor: c.Actor, Why: c.Why})
		}
		if err != nil {
			out.end(fail(CodeRefused, "history: %v", err))
			return
		}
	}
}
