package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxkeep/mxkeep/health"
	"github.com/mxkeep/mxkeep/queue"
)

// maxPause and maxOverride bound what a person may set: both end by themselves.
const (
	maxPause    = 7 * 24 * time.Hour
	maxOverride = 7 * 24 * time.Hour
	probeLimit  = 2 * time.Minute
)

// upstream finds an upstream by name. The name may be left out if there is only one.
func (s *Server) upstream(name string) (Upstream, error) {
	var names []string
	for _, u := range s.options.Upstreams {
		if u.Name == name || name == "" && len(s.options.Upstreams) == 1 {
			return u, nil
		}
		names = append(names, u.Name)
	}
	if name == "" {
		return Upstream{}, fail(CodeUnknownUpstream, "say which upstream (known: %s)", strings.Join(names, ", "))
	}
	return Upstream{}, fail(CodeUnknownUpstream, "no upstream %q (known: %s)", name, strings.Join(names, ", "))
}

// note writes an operator's act into the ledger before it is done: an act that
// cannot be recorded is not done.
func (s *Server) note(ctx context.Context, upstream, words string) error {
	return s.options.Store.Note(ctx, queue.Entry{At: time.Now(), Event: queue.Noted, Actor: actor(ctx), Upstream: upstream, Reason: words})
}

func (s *Server) probe(r *http.Request) (any, error) {
	var request ProbeRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	u, err := s.upstream(request.Upstream)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), probeLimit)
	defer cancel()
	report := ProbeReport{Schema: SchemaProbe, Upstream: u.Name, Signals: []Signal{}, Topics: []Signal{}, Dialogue: []Line{}}
	began := time.Now()
	var mu sync.Mutex // several addresses may speak at once
	signals, err := u.Probe(ctx, request.Recipient, func(line string) {
		mu.Lock()
		defer mu.Unlock()
		report.Dialogue = append(report.Dialogue, Line{AfterSeconds: Seconds(time.Since(began)), Text: line})
	})
	if err != nil {
		return nil, fail(CodeRefused, "probe of %s: %v", u.Name, err)
	}
	if u.Topics != nil {
		for _, signal := range u.Topics() {
			report.Topics = append(report.Topics, describeSignal(signal))
		}
	}
	report.OK = len(signals) > 0
	for _, signal := range signals {
		report.Signals = append(report.Signals, describeSignal(signal))
		report.OK = report.OK && signal.Class == health.OK
	}
	return report, nil
}

func (s *Server) override(r *http.Request) (any, error) {
	var request OverrideRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	until, err := request.check(time.Now())
	if err != nil {
		return nil, err
	}
	u, err := s.upstream(request.Upstream)
	if err != nil {
		return nil, err
	}
	did := Switch{Schema: SchemaSwitch, Did: "override", DryRun: request.DryRun, Upstreams: []string{u.Name}, State: request.State, Until: Time{until}}
	if request.DryRun {
		return did, nil
	}
	words := "override " + request.State
	if !until.IsZero() {
		words += " until " + Time{until}.String()
	}
	if err := s.note(r.Context(), u.Name, words+": "+request.Reason); err != nil {
		return nil, err
	}
	var o *health.Override
	if request.State != "auto" {
		o = &health.Override{State: map[string]health.State{"up": health.Up, "down": health.Down}[request.State],
			Until: until, Actor: actor(r.Context()), Reason: request.Reason}
	}
	if err := u.Override(o); err != nil {
		return nil, fail(CodeRefused, "override of %s: %v", u.Name, err)
	}
	return did, nil
}

// check says until when the override lasts; zero for auto.
func (o OverrideRequest) check(now time.Time) (time.Time, error) {
	switch {
	case o.State != "up" && o.State != "down" && o.State != "auto":
		return time.Time{}, fail(CodeBadRequest, "no override %q (there are up down auto)", o.State)
	case o.Reason == "":
		return time.Time{}, fail(CodeReasonRequired, "override needs a reason")
	case len(o.Reason) > maxReason:
		return time.Time{}, fail(CodeBadRequest, "reason of %d bytes; %d are allowed", len(o.Reason), maxReason)
	case o.State == "auto":
		return time.Time{}, nil
	}
	return end(now, o.ForSeconds, maxOverride)
}

// end is the instant after so many seconds, which must be within the limit.
func end(now time.Time, seconds float64, limit time.Duration) (time.Time, error) {
	if !(seconds >= 1 && seconds <= limit.Seconds()) {
		return time.Time{}, fail(CodeBadRequest, "%v is no time for it: it must end by itself, after 1 second to %d days", Duration(seconds), limit/(24*time.Hour))
	}
	return now.Add(Duration(seconds)).Truncate(time.Millisecond), nil
}

func (s *Server) pause(r *http.Request) (any, error) {
	var request PauseRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	switch {
	case request.Reason == "":
		return nil, fail(CodeReasonRequired, "pause needs a reason")
	case len(request.Reason) > maxReason:
		return nil, fail(CodeBadRequest, "reason of %d bytes; %d are allowed", len(request.Reason), maxReason)
	}
	until, err := end(time.Now(), request.ForSeconds, maxPause)
	if err != nil {
		return nil, err
	}
	p := Pause{Until: until, Actor: actor(r.Context()), Reason: request.Reason}
	did := Switch{Schema: SchemaSwitch, Did: "pause", Until: Time{until}}
	return s.flip(r.Context(), request.ResumeRequest, did, flipping{
		words:   fmt.Sprintf("until %s: %s", Time{until}, request.Reason),
		applies: func(Pause) bool { return true },
		inbound: func() error { return s.options.Inbound.Pause(p) },
		deliver: func(u Upstream) error { return u.Pause(p) },
	})
}

func (s *Server) resume(r *http.Request) (any, error) {
	var request ResumeRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	now := time.Now()
	return s.flip(r.Context(), request, Switch{Schema: SchemaSwitch, Did: "resume"}, flipping{
		words:   "by hand",
		applies: func(p Pause) bool { return p.Active(now) },
		inbound: s.options.Inbound.Resume,
		deliver: func(u Upstream) error { return u.Resume() },
	})
}

// flipping is how a pause or a resumption is done.
type flipping struct {
	words   string
	applies func(Pause) bool // to what is paused so
	inbound func() error
	deliver func(Upstream) error
}

// flip pauses or resumes what is chosen, each with its ledger line first. What
// is not paused is not resumed.
func (s *Server) flip(ctx context.Context, chosen ResumeRequest, did Switch, how flipping) (any, error) {
	if !chosen.Inbound && !chosen.Outbound {
		return nil, fail(CodeNoSelection, "no selection: %s of inbound, outbound, or both", did.Did)
	}
	did.DryRun, did.Upstreams = chosen.DryRun, []string{}
	did.Inbound = chosen.Inbound && how.applies(s.options.Inbound.Stats().Paused)
	upstreams := s.options.Upstreams
	if chosen.Upstream != "" {
		one, err := s.upstream(chosen.Upstream)
		if err != nil {
			return nil, err
		}
		upstreams = []Upstream{one}
	}
	upstreams = slices.DeleteFunc(slices.Clone(upstreams), func(u Upstream) bool { return !chosen.Outbound || !how.applies(u.Delivery().Paused) })
	for _, u := range upstreams {
		did.Upstreams = append(did.Upstreams, u.Name)
	}
	if chosen.DryRun {
		return did, nil
	}
	if did.Inbound {
		if err := s.noted(ctx, "", did.Did+" inbound "+how.words, how.inbound); err != nil {
			return nil, err
		}
	}
	for _, u := range upstreams {
		if err := s.noted(ctx, u.Name, did.Did+" outbound "+how.words, func() error { return how.deliver(u) }); err != nil {
			return nil, err
		}
	}
	return did, nil
}

// noted does what has been written down.
func (s *Server) noted(ctx context.Context, upstream, words string, do func() error) error {
	if err := s.note(ctx, upstream, words); err != nil {
		return err
	}
	if err := do(); err != nil {
		return fail(CodeRefused, "%s: %v", words, err)
	}
	return nil
}
