package admin

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// Status is the state of the relay: what every view of it shows.
type Status struct {
	Schema      string            `json:"schema"`
	State       string            `json:"state"`    // standby, holding, draining, paused, refusing
	Severity    string            `json:"severity"` // ok, warning, critical
	Headline    string            `json:"headline"`
	NothingLost bool              `json:"nothing_lost"`
	Trouble     []string          `json:"trouble"`   // why NothingLost is false
	WhatNext    string            `json:"what_next"` // what happens by itself
	Todo        []Todo            `json:"todo"`      // what a person should do
	At          Time              `json:"at"`
	StartedAt   Time              `json:"started_at"`
	Version     string            `json:"version"`
	Ready       bool              `json:"ready"`
	NotReady    string            `json:"not_ready"` // why Ready is false
	Upstreams   []UpstreamStatus  `json:"upstreams"`
	Stranded    []string          `json:"stranded"` // upstreams that are no longer configured, though mail waits for them
	Queue       *QueueStatus      `json:"queue"`    // null if the store cannot be read
	Account     *Account          `json:"account"`  // null if the store cannot be read
	Inbound     InboundStatus     `json:"inbound"`
	Recipients  []RecipientSource `json:"recipients"`
	Windows     []Window          `json:"windows"`   // planned, by their beginning
	Aside       []Aside           `json:"aside"`     // what was set aside and is not closed
	Incidents   []IncidentStatus  `json:"incidents"` // that are not closed, the oldest first
	Expiring    ExpiringStatus    `json:"expiring"`

	HistoryTrouble []string     `json:"history_trouble"` // what is wrong with the records of the upstreams
	Store          *StoreReport `json:"store"`           // null if it keeps no files
	BackupAt       Time         `json:"last_backup_at"`
}

// Todo is something for a person to do.
type Todo struct {
	Text    string `json:"text"`
	Command string `json:"command"`
}

// UpstreamStatus is one primary and how it is given mail.
type UpstreamStatus struct {
	Schema        string     `json:"schema"`
	Name          string     `json:"name"`
	Domains       []string   `json:"domains"`
	Hosts         []string   `json:"hosts"`
	State         string     `json:"state"`          // up, degraded, down, recovering, forced-up, forced-down
	ObservedState string     `json:"observed_state"` // without the override
	Since         Time       `json:"since"`
	Why           string     `json:"why"`
	Fault         string     `json:"fault"` // on which side the trouble seems to be; "" if there is none
	LastSignal    *Signal    `json:"last_signal"`
	ReachedBy     string     `json:"reached_by"` // another relay for which it takes mail now; "" if that is not known
	NextProbeAt   Time       `json:"next_probe_at"`
	Override      *Override  `json:"override"`
	Throttled     *Condition `json:"throttled"`
	Misconfigured *Condition `json:"misconfigured"`
	Recipients    *Condition `json:"recipients"` // it has trouble with recipients, not with mail
	Network       *Condition `json:"network"`    // ours is broken: neither it nor a target outside is reached
	Scope         string     `json:"scope"`      // what the trouble of the state is limited to; "" is nothing
	BadRounds     int        `json:"bad_rounds"`
	GoodRounds    int        `json:"good_rounds"`
	Trials        int        `json:"trials"`
	InFlight      int        `json:"in_flight"`
	Window        int        `json:"window"`
	Paused        *Paused    `json:"paused"`
	Spike         *Spiking   `json:"spike"` // null if there is none
	Held          *Share     `json:"held"`  // null where it is not asked for, or not known
}

// Spiking says that an upstream refuses recipients that are known to exist.
type Spiking struct {
	Since   Time `json:"since"`
	Refused int  `json:"refused"` // as unknown
	Known   int  `json:"known"`   // recipients that it was asked for, and that exist
}

// Share is what is stored of the mail for an upstream, and what may be.
type Share struct {
	Messages    int64    `json:"messages"`
	Bytes       int64    `json:"bytes"`
	MaxMessages int64    `json:"max_messages"`     // 0 is no limit
	MaxBytes    int64    `json:"max_bytes"`        // 0 is no limit
	RoomSeconds *float64 `json:"room_for_seconds"` // until one of the two is reached at this rate; null if none is
	Full        string   `json:"full"`             // why no more can be stored now; "" if it can
}

// UpstreamReport is an upstream with its evidence.
type UpstreamReport struct {
	UpstreamStatus
	Recent      []Signal      `json:"recent"`
	Topics      []Signal      `json:"topics"` // the last of each source and what it looks at
	Transitions []StateChange `json:"transitions"`
}

// StateChange is a Transition on the wire.
type StateChange struct {
	At   Time   `json:"at"`
	From string `json:"from"`
	To   string `json:"to"`
	Why  string `json:"why"`
}

// Override is an operator's decision about an upstream.
type Override struct {
	State  string `json:"state"`
	Until  Time   `json:"until"` // null: until its window is removed
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
	Window string `json:"window"` // the planned window that it is of; "" is none
}

// Condition is trouble of an upstream that is not an outage.
type Condition struct {
	Since Time   `json:"since"`
	Last  Time   `json:"last"`
	Until Time   `json:"until"` // when it ends by itself; if it stops deliveries, when one is tried, null is now
	Reply string `json:"reply"`
	Row   int    `json:"row"`   // of the reply catalogue; 0 is none
	Fix   string `json:"fix"`   // what a person can do about it
	Scope string `json:"scope"` // what it is limited to; "" is nothing
	Stops bool   `json:"stops"` // deliveries wait
}

// Paused is a pause on the wire.
type Paused struct {
	Until  Time   `json:"until"`
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// QueueStatus is what is held.
type QueueStatus struct {
	Messages        int64            `json:"messages"`
	Bytes           int64            `json:"bytes"`
	ByState         map[string]int64 `json:"by_state"`
	OldestAt        Time             `json:"oldest_received_at"`
	OldestExpiresAt Time             `json:"oldest_expires_at"`
	DiskUsed        int64            `json:"disk_used_bytes"`
	DiskFree        int64            `json:"disk_free_bytes"`
	InPerMinute     *float64         `json:"messages_in_per_minute"`    // null before it is known
	OutPerMinute    *float64         `json:"recipients_out_per_minute"` // null before it is known
	Damaged         int64            `json:"damaged_messages"`          // held: their content differs from what was received
	Unreadable      int64            `json:"unreadable_messages"`       // without a record that can be read
	MaxMessages     int64            `json:"max_messages"`              // 0 is no limit
	MaxBytes        int64            `json:"max_bytes"`                 // 0 is no limit
	DiskReserve     int64            `json:"disk_reserve_bytes"`        // of what is free: kept for deliveries
	RoomSeconds     *float64         `json:"room_for_seconds"`          // until the disk or a limit is full at this rate; null if none fills
	RoomOf          string           `json:"room_of"`                   // which one that is; "" if none fills
}

// Account counts recipients since the store was made.
type Account struct {
	Accepted  int64 `json:"accepted"`
	Delivered int64 `json:"delivered"`
	Queued    int64 `json:"queued"`
	Held      int64 `json:"held"`
	Refused   int64 `json:"refused"`
	Failed    int64 `json:"failed"`
	Expired   int64 `json:"expired"`
	Deleted   int64 `json:"deleted"`
	SetAside  int64 `json:"set_aside"`
	Passed    int64 `json:"passed"`
	Missing   int64 `json:"missing"`
}

// InboundStatus is the side that accepts mail.
type InboundStatus struct {
	Sessions    int              `json:"sessions"`
	Accepted    int64            `json:"accepted"`
	Passed      int64            `json:"passed"`       // handed to an upstream while the sender waited
	Unnoted     int64            `json:"unnoted"`      // of them, without a ledger line
	Refused     map[string]int64 `json:"refused"`      // by reason, as mxkeep help clients names them; a reason is there from the start
	ListsFailed int64            `json:"lists_failed"` // questions to DNS lists without an answer
	Refusing    string           `json:"refusing"`
	Paused      *Paused          `json:"paused"`

	Filters     []FilterStatus     `json:"filters"`     // of content, in the order in which they are asked
	Certificate *CertificateStatus `json:"certificate"` // null if none is known of
}

// CertificateStatus is what senders are shown.
type CertificateStatus struct {
	Source  string `json:"source"`      // files, acme, self-signed
	Until   Time   `json:"valid_until"` // null if an authority has issued none yet
	Failure string `json:"failure"`     // why an authority has not issued, or renewed it
}

// Status takes the snapshot that every view shows. A store that cannot be read is part of it.
func (s *Server) Status(ctx context.Context) Status {
	now := time.Now()
	st := Status{Schema: SchemaStatus, At: Time{now}, StartedAt: Time{s.options.Started}, Version: s.options.Version,
		Ready: true, Upstreams: []UpstreamStatus{}, Stranded: []string{}, Trouble: []string{}, Todo: []Todo{}, Aside: []Aside{}, Incidents: []IncidentStatus{}, HistoryTrouble: []string{}, Store: s.storage(), BackupAt: s.lastBackup()}
	if err := s.options.Ready(); err != nil {
		st.Ready, st.NotReady = false, err.Error()
	}
	for _, u := range s.options.Upstreams {
		st.Upstreams = append(st.Upstreams, u.snapshot(now))
	}
	st.Recipients, st.Windows = s.recipientSources(), s.windows(now)
	s.recorded(&st)
	inbound := s.options.Inbound.Stats()
	st.Inbound = inbound.snapshot(now)
	stats, err := s.options.Store.Stats(ctx)
	if err != nil {
		st.Trouble = append(st.Trouble, "The store cannot be read: "+err.Error()+".")
	} else {
		st.Account = account(stats.Account)
		for _, a := range stats.Aside {
			st.Aside = append(st.Aside, describeAside(a))
		}
		st.Queue = s.queueStatus(ctx, stats)
		st.Stranded = append(st.Stranded, s.stranded(ctx)...)
		s.shares(&st, stats, inbound.Full)
	}
	judge(&st)
	return st
}

// stranded names the former upstreams for which mail waits. No dispatcher has it.
func (s *Server) stranded(ctx context.Context) (names []string) {
	for _, name := range s.options.Former {
		for _, err := range s.options.Store.Due(ctx, name, time.Now().Add(queue.MaxLifetime)) {
			if err == nil { // a store that cannot be read is shown by its Stats
				names = append(names, name)
			}
			break
		}
	}
	return names
}

func (s *Server) getStatus(r *http.Request) (any, error) { return s.Status(r.Context()), nil }

func (s *Server) queueStatus(ctx context.Context, stats queue.Stats) *QueueStatus {
	q := &QueueStatus{Bytes: stats.Bytes, ByState: map[string]int64{}, OldestAt: Time{stats.Oldest},
		DiskUsed: stats.DiskUsed, DiskFree: stats.DiskFree, Damaged: stats.Damaged, Unreadable: stats.Unreadable}
	for _, state := range queue.States() {
		if !state.Final() {
			q.ByState[state.String()] = stats.Messages[state]
			q.Messages += stats.Messages[state]
		}
	}
	for m, err := range readable(s.options.Store.Messages(ctx, queue.Filter{Limit: 1})) {
		if err == nil { // a store that cannot be read is shown by its Stats
			q.OldestExpiresAt = Time{m.Expires(time.Now())}
		}
		break
	}
	if in, out, ok := s.rates.perMinute(); ok {
		q.InPerMinute, q.OutPerMinute = &in, &out
	}
	return q
}

func account(a queue.Account) *Account {
	return &Account{Accepted: a.Accepted, Delivered: a.Delivered, Queued: a.Queued, Held: a.Held, Refused: a.Refused,
		Failed: a.Failed, Expired: a.Expired, Deleted: a.Deleted, SetAside: a.SetAside, Passed: a.Passed, Missing: a.Missing()}
}

func (stats InboundStats) snapshot(now time.Time) InboundStatus {
	refused := map[string]int64{}
	for reason, n := range stats.Refused {
		refused[reason] = n
	}
	return InboundStatus{Sessions: stats.Sessions, Accepted: stats.Accepted, Passed: stats.Passed, Unnoted: stats.Unnoted, Refused: refused,
		ListsFailed: stats.ListsFailed, Refusing: stats.Refusing, Paused: paused(stats.Paused, now), Certificate: stats.Certificate.snapshot(), Filters: filterStatus(stats.Filters)}
}

func (c Certificate) snapshot() *CertificateStatus {
	if c == (Certificate{}) {
		return nil
	}
	return &CertificateStatus{Source: c.Source, Until: Time{c.Until}, Failure: c.Failure}
}

func paused(p Pause, now time.Time) *Paused {
	if !p.Active(now) {
		return nil
	}
	return &Paused{Until: Time{p.Until}, Actor: p.Actor, Reason: p.Reason}
}

func (u Upstream) snapshot(now time.Time) UpstreamStatus {
	status, delivery := u.Status(), u.Delivery()
	d := UpstreamStatus{Schema: SchemaUpstream, Name: u.Name, Domains: append([]string{}, u.Domains...), Hosts: append([]string{}, u.Hosts...),
		State: status.State.String(), ObservedState: status.State.String(), Since: Time{status.Since}, Why: status.Why,
		NextProbeAt: Time{u.NextProbe()}, Throttled: condition(status.Throttled), Misconfigured: condition(status.Misconfigured),
		Recipients: condition(status.Recipients), Network: condition(status.Network), Scope: status.Scope.String(),
		BadRounds: status.BadRounds, GoodRounds: status.GoodRounds, Trials: status.Trials,
		InFlight: delivery.InFlight, Window: delivery.Window, Paused: paused(delivery.Paused, now)}
	if o := status.Steering(now); o != nil {
		d.State = "forced-" + o.State.String()
		d.Override = &Override{State: o.State.String(), Until: Time{o.Until}, Actor: o.Actor, Reason: o.Reason, Window: o.Window}
	}
	if u.Spike != nil {
		if s := u.Spike(); s.Active {
			d.Spike = &Spiking{Since: Time{s.Since}, Refused: s.Refused, Known: s.Known}
		}
	}
	d.ReachedBy = reachedBy(u.Recent(), now)
	for _, signal := range slices.Backward(u.Recent()) {
		if signal.Source.Direct() { // others have seen nothing of the upstream
			last := describeSignal(signal)
			d.LastSignal = &last
			break
		}
	}
	return d
}

// viewLasts is how long what another relay saw counts as now.
const viewLasts = 2 * time.Minute

// reachedBy names another relay that the upstream takes mail from.
func reachedBy(recent []health.Signal, now time.Time) string {
	asked := map[string]bool{}
	for _, s := range slices.Backward(recent) {
		if s.Source != health.SourceVantage || asked[s.Host] {
			continue
		}
		if asked[s.Host] = true; s.Class == health.OK && now.Sub(s.At) < viewLasts {
			return s.Host
		}
	}
	return ""
}

func condition(c health.Condition) *Condition {
	if !c.Active() {
		return nil
	}
	return &Condition{Since: Time{c.Since}, Last: Time{c.Last}, Until: Time{c.Until}, Reply: c.Reply, Row: c.Row, Fix: c.Fix,
		Scope: c.Scope.String(), Stops: c.Stops}
}

func describeSignal(s health.Signal) Signal {
	return Signal{At: Time{s.At}, Source: string(s.Source), Class: s.Class.String(), Phase: string(s.Phase), Command: s.Command,
		Reply: s.Reply, Host: s.Host, Address: s.Address, TookSeconds: Seconds(s.Took)}
}

// health streams every upstream with its evidence.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	out := newStream(w)
	for _, u := range s.options.Upstreams {
		report := UpstreamReport{UpstreamStatus: u.snapshot(now), Recent: []Signal{}, Topics: []Signal{}, Transitions: []StateChange{}}
		report.Fault = fault(&report.UpstreamStatus)
		for _, signal := range u.Recent() {
			report.Recent = append(report.Recent, describeSignal(signal))
		}
		if u.Topics != nil {
			for _, signal := range u.Topics() {
				report.Topics = append(report.Topics, describeSignal(signal))
			}
		}
		for _, t := range u.Transitions() {
			report.Transitions = append(report.Transitions, StateChange{At: Time{t.At}, From: t.From.String(), To: t.To.String(), Why: t.Why})
		}
		if err := out.write(report); err != nil {
			return // the client has gone
		}
	}
}
