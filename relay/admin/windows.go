package admin

import (
	"errors"
	"net/http"
	"slices"
	"time"
)

// SchemaWindow is that of a planned window.
const SchemaWindow = "mxkeep.window/1"

// The ways in which a planned window lets mail go.
const (
	ReleaseAuto     = "auto"     // at its end
	ReleaseApproval = "approval" // when a person removes it
)

// What a planned window can be.
const (
	WindowPlanned = "planned"
	WindowHolds   = "holds"
	WindowWaits   = "waits" // its time is over, and it holds until a person removes it
)

// Window is a time in which the mail for an upstream is held.
type Window struct {
	Schema   string `json:"schema"`
	ID       string `json:"id"`
	Upstream string `json:"upstream"`
	From     Time   `json:"from"`
	To       Time   `json:"to"`
	Release  string `json:"release"` // auto, approval
	State    string `json:"state"`   // planned, holds, waits
	Actor    string `json:"actor"`
	Reason   string `json:"reason"`
	DryRun   bool   `json:"dry_run"`
}

// Windows keeps planned windows. Its methods may be called concurrently.
type Windows interface {
	List(now time.Time) []Window // by their beginning
	Add(w Window) (Window, error)
	Remove(id string) (Window, error)
}

// ErrNoWindow says that there is no window of the id.
var ErrNoWindow = errors.New("no such window")

// WindowRequest plans a window.
type WindowRequest struct {
	Upstream string `json:"upstream,omitempty"` // "" is the only one
	From     Time   `json:"from"`               // null is now
	To       Time   `json:"to"`
	Release  string `json:"release"`
	Reason   string `json:"reason"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// RemoveRequest removes a window, which ends what it holds.
type RemoveRequest struct {
	Reason string `json:"reason"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// What a window may be.
const (
	maxWindow  = 7 * 24 * time.Hour
	maxAhead   = 366 * 24 * time.Hour
	maxWindows = 100
)

// check makes the window of a request.
func (q WindowRequest) check(now time.Time) (Window, error) {
	w := Window{Schema: SchemaWindow, From: q.From, To: q.To, Release: q.Release, Reason: q.Reason, DryRun: q.DryRun, State: WindowPlanned}
	if w.From.IsZero() {
		w.From = Time{now}
	}
	w.From.Time, w.To.Time = w.From.Truncate(time.Millisecond), w.To.Truncate(time.Millisecond)
	if !w.From.After(now) {
		w.State = WindowHolds
	}
	switch {
	case q.Release != ReleaseAuto && q.Release != ReleaseApproval:
		return w, fail(CodeBadRequest, "no release %q (there are auto approval)", q.Release)
	case q.Reason == "":
		return w, fail(CodeReasonRequired, "a window needs a reason")
	case len(q.Reason) > maxReason:
		return w, fail(CodeBadRequest, "reason of %d bytes; %d are allowed", len(q.Reason), maxReason)
	case !w.To.After(now):
		return w, fail(CodeBadRequest, "the window is over at %s already", w.To)
	case !w.To.After(w.From.Time):
		return w, fail(CodeBadRequest, "the window ends at %s, before it begins at %s", w.To, w.From)
	case w.To.Sub(w.From.Time) > maxWindow:
		return w, fail(CodeBadRequest, "a window may last %d days", maxWindow/(24*time.Hour))
	case w.From.Sub(now) > maxAhead:
		return w, fail(CodeBadRequest, "a window may begin within %d days", maxAhead/(24*time.Hour))
	}
	return w, nil
}

func (s *Server) windows(now time.Time) []Window {
	if s.options.Windows == nil {
		return []Window{}
	}
	return append([]Window{}, s.options.Windows.List(now)...)
}

func (s *Server) listWindows(w http.ResponseWriter, _ *http.Request) {
	out := newStream(w)
	for _, one := range s.windows(time.Now()) {
		if out.write(one) != nil {
			return // the client has gone
		}
	}
}

func (s *Server) addWindow(r *http.Request) (any, error) {
	var request WindowRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	now := time.Now()
	w, err := request.check(now)
	if err != nil {
		return nil, err
	}
	u, err := s.upstream(request.Upstream)
	switch {
	case err != nil:
		return nil, err
	case s.options.Windows == nil:
		return nil, fail(CodeRefused, "no windows are kept here")
	case len(s.windows(now)) >= maxWindows:
		return nil, fail(CodeRefused, "there are %d windows already: remove some", maxWindows)
	}
	w.Upstream, w.Actor = u.Name, actor(r.Context())
	if request.DryRun {
		return w, nil
	}
	words := "window from " + w.From.String() + " to " + w.To.String() + ", release " + w.Release + ": " + w.Reason
	if err := s.noted(r.Context(), u.Name, words, func() (err error) {
		w, err = s.options.Windows.Add(w)
		return err
	}); err != nil {
		return nil, err
	}
	return w, nil
}

func (s *Server) removeWindow(r *http.Request) (any, error) {
	var request RemoveRequest
	if err := read(r, &request); err != nil {
		return nil, err
	}
	switch {
	case request.Reason == "":
		return nil, fail(CodeReasonRequired, "to remove a window needs a reason")
	case len(request.Reason) > maxReason:
		return nil, fail(CodeBadRequest, "reason of %d bytes; %d are allowed", len(request.Reason), maxReason)
	}
	all := s.windows(time.Now())
	i := slices.IndexFunc(all, func(w Window) bool { return w.ID == r.PathValue("id") })
	if i < 0 {
		return nil, fail(CodeNotFound, "window %.60q: %v", r.PathValue("id"), ErrNoWindow)
	}
	w := all[i]
	if w.DryRun = request.DryRun; request.DryRun {
		return w, nil
	}
	if err := s.noted(r.Context(), w.Upstream, "window "+w.ID+" removed: "+request.Reason, func() error {
		_, err := s.options.Windows.Remove(w.ID)
		return err
	}); err != nil {
		return nil, err
	}
	return w, nil
}

// heldByPlan reports whether the upstream takes nothing only because that was planned.
func (u UpstreamStatus) heldByPlan(st *Status) bool {
	return u.Override != nil && u.Override.Window != "" && !slices.ContainsFunc(st.Windows, func(w Window) bool {
		return w.ID == u.Override.Window && w.State == WindowWaits
	})
}

// windowTodo is what a person has to do about windows: those that wait.
func windowTodo(st *Status) (list []Todo) {
	for _, w := range st.Windows {
		if w.State == WindowWaits {
			list = append(list, Todo{"The time of the planned window " + w.ID + " is over, and mail for " + w.Upstream + " is held until you remove it (" + w.Reason + ").",
				"mxkeep window remove " + w.ID + ` --reason "..."`})
		}
	}
	return list
}
